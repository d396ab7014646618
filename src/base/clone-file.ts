import { constants } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { systemCode } from './errors.ts'

/** What a file system says when it cannot make a kind of link, or of copy that shares blocks. */
export const CANNOT_LINK = [
  'ENOTSUP',
  'EOPNOTSUPP',
  'EXDEV',
  'ENOSYS',
  'ENOTTY',
  'EINVAL',
  'EMLINK',
  'EPERM',
  'EACCES',
  'ENOTDIR',
]

/** Makes a new file that shares its blocks with another one until either is written to (a reflink), with the same permissions.
 *  @returns false where the file system cannot, and nothing is left   @throws EEXIST where something lies at `to`, and other system errors */
export async function cloneFile(from: string, to: string): Promise<boolean> {
  try {
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE)
    return true
  } catch (error) {
    if (CANNOT_LINK.includes(systemCode(error) ?? '')) return false
    throw error
  }
}

import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, isAbsolute, join, resolve } from 'node:path'
import { systemCode } from './errors.ts'

/** PATH may name files, and folders of others. */
const PASSED_OVER = ['EACCES', 'EPERM', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG']

function isProgram(path: string): boolean {
  try {
    if (!statSync(path, { throwIfNoEntry: false })?.isFile()) return false
    accessSync(path, constants.X_OK)
    return true
  } catch (error) {
    if (PASSED_OVER.includes(systemCode(error) ?? '')) return false
    throw error
  }
}

/** @param names of one program, as it is called on some systems or others; one with a slash is a path
 *  @param cwd for relative paths, in PATH, too; without it these are passed over, as the current folder may be anyone's
 *  @returns the absolute path of a program that may be executed, or undefined */
export function findProgram(
  names: readonly string[],
  { env, cwd }: { env: Record<string, string | undefined>; cwd?: string },
): string | undefined {
  const named = names.filter((name) => name.includes('/')).map((name) => resolve(cwd ?? '/', name))
  const bare = names.filter((name) => !name.includes('/'))
  const folders = (env.PATH ?? env.Path ?? '')
    .split(delimiter)
    .flatMap((folder) => (isAbsolute(folder) ? [folder] : cwd === undefined ? [] : [resolve(cwd, folder)]))
  return [...named, ...folders.flatMap((folder) => bare.map((name) => join(folder, name)))].find(isProgram)
}

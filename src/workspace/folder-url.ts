import { realpathSync } from 'node:fs'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { systemCode } from '../base/errors.ts'
import { parsePlace } from '../transport/place.ts'

/** @returns the absolute folder that a remote's url or cache.dir means; undefined when it is a URL of another kind
 *  @throws CONFIG_INVALID */
export function parseFolderUrl(url: string, root: string, env: Record<string, string | undefined>): string | undefined {
  if (/^(?!file:)[a-z][a-z0-9+.-]+:\/\//i.test(url)) return undefined
  const place = parsePlace(url, { root, env })
  return place.kind === 'folder' ? place.folder : undefined
}

/** Follows links in the part of a path that exists. */
function realFolder(path: string): string {
  try {
    return realpathSync(path)
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '') || dirname(path) === path) throw error
    return join(realFolder(dirname(path)), basename(path))
  }
}

/** @returns whether a folder, links followed, lies outside the work tree, or inside its .git, or cannot be looked at */
export function isOutside(folder: string, workTree: string): boolean {
  try {
    const inside = relative(realFolder(workTree), realFolder(folder))
    return (
      inside === '..' || inside.startsWith(`..${sep}`) || resolve(inside) === inside || /(^|[\\/])\.git([\\/]|$)/i.test(inside)
    )
  } catch (error) {
    if (systemCode(error)) return true
    throw error
  }
}

import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

/** Every file below a folder: its bytes, `exec` before those of an executable, `→` before where a link leads, null for an empty folder. */
export function listing(folder: string, below = ''): Record<string, string | null> {
  const found: Record<string, string | null> = {}
  for (const name of readdirSync(join(folder, below))) {
    const path = below === '' ? name : `${below}/${name}`
    const stats = lstatSync(join(folder, path))
    if (stats.isDirectory()) {
      const inside = listing(folder, path)
      if (Object.keys(inside).length === 0) found[path] = null
      Object.assign(found, inside)
    } else if (stats.isSymbolicLink()) found[path] = `→ ${readlinkSync(join(folder, path))}`
    else found[path] = ((stats.mode & 0o100) !== 0 ? 'exec ' : '') + readFileSync(join(folder, path), 'utf8')
  }
  return found
}

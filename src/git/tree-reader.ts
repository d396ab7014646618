import type { CommitChanges, GitFile } from './git.ts'

export interface GitTreeEntry {
  mode: string
  path: string
  oid: string
  type: 'blob' | 'tree' | 'commit'
}

/** Parses a tree as git stores it: `MODE NAME\0` and 20 bytes of id per entry. isomorphic-git's own parser refuses names with a backslash. */
export function parseTree(bytes: Uint8Array): GitTreeEntry[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const entries: GitTreeEntry[] = []
  for (let at = 0; at < buffer.length; ) {
    const space = buffer.indexOf(0x20, at)
    const end = buffer.indexOf(0, space)
    const mode = buffer.toString('latin1', at, space)
    const type = mode === '40000' ? 'tree' : mode === '160000' ? 'commit' : 'blob'
    entries.push({ mode, path: buffer.toString('utf8', space + 1, end), oid: buffer.toString('hex', end + 1, end + 21), type })
    at = end + 21
  }
  return entries
}

/** Walks git's trees over `load`, which gives the entries of a commit's or a tree's tree and is asked once for each. */
export function createTreeReader(load: (oid: string) => Promise<GitTreeEntry[] | undefined>) {
  const known = new Map<string, GitTreeEntry[]>()
  const tree = async (oid: string | undefined): Promise<GitTreeEntry[]> => {
    if (oid === undefined) return []
    const entries = known.get(oid) ?? (await load(oid)) ?? []
    known.set(oid, entries)
    return entries
  }

  const entryAt = async (oid: string, path: string): Promise<GitTreeEntry | undefined> => {
    let at: GitTreeEntry | undefined
    for (const name of path.split('/')) {
      if (at && at.type !== 'tree') return undefined
      at = (await tree(at?.oid ?? oid)).find((entry) => entry.path === name)
      if (!at) return undefined
    }
    return at
  }

  const filesBelow = async (oid: string, folder: string, found: GitFile[] = []): Promise<GitFile[]> => {
    for (const entry of await tree(oid)) {
      const path = folder === '' ? entry.path : `${folder}/${entry.path}`
      if (entry.type === 'tree') await filesBelow(entry.oid, path, found)
      else found.push({ path, blob: entry.oid, mode: entry.mode.padStart(6, '0') })
    }
    return found
  }

  /** What differs between two trees, either of which may be missing. */
  const changes = async (
    before: string | undefined,
    after: string | undefined,
    folder: string,
    found: CommitChanges['changed'] = [],
  ): Promise<CommitChanges['changed']> => {
    if (before === after) return found
    const old = new Map((await tree(before)).map((entry) => [entry.path, entry]))
    const fresh = new Map((await tree(after)).map((entry) => [entry.path, entry]))
    for (const name of new Set([...old.keys(), ...fresh.keys()])) {
      const [was, is] = [old.get(name), fresh.get(name)]
      if (was && is && was.oid === is.oid && was.mode === is.mode) continue
      const path = folder === '' ? name : `${folder}/${name}`
      if (is && is.type !== 'tree') found.push({ path, blob: is.oid })
      else if (was && was.type !== 'tree') found.push({ path, blob: undefined })
      await changes(was?.type === 'tree' ? was.oid : undefined, is?.type === 'tree' ? is.oid : undefined, path, found)
    }
    return found
  }

  return { entryAt, filesBelow, changes }
}

import { MlvError } from '../../src/base/errors.ts'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import { compareUtf8 } from '../../src/base/paths.ts'
import { type TreeEntry, writeTree } from '../../src/store/tree.ts'

/** Pages kept in memory, and what was read of them. */
export function createPages() {
  const pages = new Map<Oid, Uint8Array>()
  const log = { written: 0, read: [] as Oid[] }
  return {
    pages,
    log,
    sink: (oid: Oid, bytes: Uint8Array) => {
      pages.set(oid, bytes)
      log.written++
    },
    read: async (oid: Oid) => {
      log.read.push(oid)
      const page = pages.get(oid)
      if (!page) throw new MlvError('OBJECT_MISSING', `no page ${oid}`)
      return page
    },
    /** keeps a page that was written by hand */
    put(text: string | Uint8Array): Oid {
      const bytes = Buffer.from(text as string)
      const oid = oidOfBytes(bytes)
      pages.set(oid, bytes)
      return oid
    },
  }
}

export const file = (name: string, content: string, kind: 'file' | 'exec' | 'link' = 'file'): TreeEntry => ({
  name,
  kind,
  oid: oidOfBytes(content),
  size: Buffer.byteLength(content),
})

/** A folder as a map: text is a file, `exec:` and `link:` name the other kinds, a map is a folder. */
export interface Folder {
  [name: string]: string | Folder
}

export function entriesOf(folder: Folder, sink: (oid: Oid, bytes: Uint8Array) => void): TreeEntry[] {
  const entries = Object.entries(folder).map(([name, value]): TreeEntry => {
    if (typeof value !== 'string') return { name, kind: 'tree', ...writeTree(entriesOf(value, sink), sink) }
    const special = /^(exec|link):(.*)$/s.exec(value)
    return special ? file(name, special[2]!, special[1] as 'exec' | 'link') : file(name, value)
  })
  return entries.sort((a, b) => compareUtf8(a.name, b.name))
}

export function writeFolder(folder: Folder, sink: (oid: Oid, bytes: Uint8Array) => void) {
  return writeTree(entriesOf(folder, sink), sink)
}

/** Files and links by path, and folders that hold nothing, found without any of the code under test but parsing. */
export function flatten(folder: Folder, above = ''): Map<string, string> {
  const flat = new Map<string, string>()
  for (const [name, value] of Object.entries(folder)) {
    const path = above === '' ? name : `${above}/${name}`
    if (typeof value === 'string') flat.set(path, value)
    else if (Object.keys(value).length === 0) flat.set(path, 'nothing')
    else for (const [below, content] of flatten(value, path)) flat.set(below, content)
  }
  return flat
}

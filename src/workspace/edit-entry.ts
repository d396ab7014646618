import { loadFingerprint } from '../base/fingerprint.ts'
import type { TreeEntry } from '../store/tree.ts'
import { editPaths } from '../store/tree-walk.ts'
import type { Entry } from './entry.ts'
import { isStored, type Saving } from './hash-files.ts'

/** Sets or deletes paths below a tree, storing the new pages. @param pages pages of the tree that the store may not give yet */
export async function editEntry(
  entry: Entry & { kind: 'tree' },
  changes: Map<string, TreeEntry | undefined>,
  saving: Saving,
  pages?: ReadonlyMap<string, Buffer>,
): Promise<Entry> {
  await loadFingerprint()
  const made = new Map<string, Buffer>()
  const root = await editPaths(entry.oid, changes, {
    read: async (oid) => made.get(oid) ?? pages?.get(oid) ?? saving.store.read(oid),
    sink: (oid, bytes) => {
      made.set(oid, bytes)
    },
  })
  for (const [oid, bytes] of made) {
    const id = oid as Entry['oid']
    if (!isStored(saving, id)) await saving.writer.add(id, bytes)
  }
  return { kind: 'tree', ...root }
}

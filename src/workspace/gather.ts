import { hasCode } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { Wanted } from '../store/transfer.ts'
import { parsePage } from '../store/tree-page.ts'
import type { Entry } from './entry.ts'

/** A version of a path whose objects are wanted. */
export interface Root {
  entry: Entry
  /** only the data at or below this path of the tree, with the pages of all of it; '' for all */
  part: string
}

export interface Gathered {
  /** every object, tree pages included, each once */
  objects: Map<Oid, Wanted>
  /** roots or pages that no store could give, with the folder they describe */
  unreadable: { oid: Oid; folder: string }[]
}

interface Open {
  oid: Oid
  folder: string
  part: string
}

/** Finds all objects of the roots by reading tree pages, whole levels at a time, from the first store that has them. */
export async function gatherObjects(
  roots: readonly Root[],
  stores: readonly ObjectStore[],
  signal?: AbortSignal,
): Promise<Gathered> {
  const objects = new Map<Oid, Wanted>()
  const unreadable: Gathered['unreadable'] = []
  const opened = new Set<string>()
  let frontier: Open[] = []
  const open = (item: Open) => {
    // A page that was seen for one part may be wanted for another.
    const key = item.part === '' ? item.oid : `${item.oid} ${item.folder} ${item.part}`
    if (opened.has(key) || opened.has(item.oid)) return
    opened.add(key)
    objects.set(item.oid, { oid: item.oid, size: undefined })
    frontier.push(item)
  }
  for (const { entry, part } of roots) {
    if (entry.kind === 'tree') open({ oid: entry.oid, folder: '', part })
    else objects.set(entry.oid, { oid: entry.oid, size: entry.size })
  }

  function visit(item: Open, bytes: Buffer): void {
    const page = parsePage(bytes, item.oid)
    for (const entry of page.entries) {
      if (entry.kind === 'page') {
        open({ ...item, oid: entry.oid })
        continue
      }
      const path = item.folder === '' ? entry.name : `${item.folder}/${entry.name}`
      if (entry.kind === 'tree') {
        const inside = item.part === '' || path === item.part || path.startsWith(`${item.part}/`)
        open({ oid: entry.oid, folder: path, part: inside ? '' : item.part })
      } else if (item.part === '' || path === item.part) objects.set(entry.oid, { oid: entry.oid, size: entry.size })
    }
  }

  while (frontier.length > 0) {
    const level = frontier
    frontier = []
    const waiting = new Map<Oid, Open[]>()
    for (const item of level) waiting.set(item.oid, [...(waiting.get(item.oid) ?? []), item])
    for (const store of stores) {
      const here = [...waiting.keys()].filter((oid) => store.has(oid) || store.locate(oid))
      try {
        await store.readEach(
          here,
          (oid, bytes) => {
            for (const item of waiting.get(oid) ?? []) visit(item, bytes)
            waiting.delete(oid)
          },
          { concurrency: 8, signal },
        )
      } catch (error) {
        // What this store could not give, the next one may.
        if (!hasCode(error, 'OBJECT_CORRUPT', 'OBJECT_MISSING', 'OBJECT_PURGED', 'PACK_CORRUPT', 'BLOB_MISSING')) throw error
      }
    }
    for (const [oid, items] of waiting) {
      objects.delete(oid)
      unreadable.push({ oid, folder: items[0]!.folder })
    }
  }
  return { objects, unreadable }
}

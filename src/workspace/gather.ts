import { hasCode, MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { Wanted } from '../store/transfer.ts'
import { leafOf } from '../store/tree.ts'
import { type PageRef, parsePage, type Totals, totalsOf } from '../store/tree-page.ts'
import type { Entry } from './entry.ts'
import { nameTowards } from './scan.ts'

/** A version of a path whose objects are wanted. */
export interface Root {
  entry: Entry
  /** only the data at or below this path of the tree, with its pages and those that lead there; '' for all */
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
  /** what refers to it says */
  totals: Totals
}

export interface GatherOptions {
  signal?: AbortSignal
  /** told of pages that are not what they should be, which otherwise are thrown as TREE_INVALID */
  onInvalid?: (oid: Oid, error: MlvError) => void
}

/** Finds all objects of the roots by reading tree pages, whole levels at a time, from the first store that has them. */
export async function gatherObjects(
  roots: readonly Root[],
  stores: readonly ObjectStore[],
  { signal, onInvalid }: GatherOptions = {},
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
    if (entry.kind === 'tree') open({ oid: entry.oid, folder: '', part, totals: entry })
    else objects.set(entry.oid, { oid: entry.oid, size: entry.size })
  }

  function visit(item: Open, bytes: Buffer): void {
    const page = parsePage(bytes, item.oid)
    const totals = totalsOf(page.entries)
    if (totals.size !== item.totals.size || totals.files !== item.totals.files)
      throw new MlvError('TREE_INVALID', `The tree page ${item.oid} does not add up to what refers to it`, {
        hint: 'It was made by a broken or hostile program; restore the pointer from an earlier commit.',
      })
    const next = item.part === '' ? undefined : nameTowards(item.part, item.folder)
    if (page.level > 0 && next !== undefined) {
      const pages = page.entries as PageRef[]
      const towards = pages[leafOf(pages, next)]!
      open({ ...item, oid: towards.oid, totals: towards })
      return
    }
    for (const entry of page.entries) {
      if (entry.kind === 'page') {
        open({ ...item, oid: entry.oid, totals: entry })
        continue
      }
      if (next !== undefined && entry.name !== next) continue
      const path = item.folder === '' ? entry.name : `${item.folder}/${entry.name}`
      if (entry.kind === 'tree') {
        open({ oid: entry.oid, folder: path, part: path === item.part ? '' : item.part, totals: entry })
      } else if (item.part === '' || path === item.part) objects.set(entry.oid, { oid: entry.oid, size: entry.size })
    }
  }

  function tryVisit(item: Open, bytes: Buffer): void {
    try {
      visit(item, bytes)
    } catch (error) {
      if (!onInvalid || !hasCode(error, 'TREE_INVALID')) throw error
      onInvalid(item.oid, error)
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
            for (const item of waiting.get(oid) ?? []) tryVisit(item, bytes)
            waiting.delete(oid)
          },
          { concurrency: 8, signal },
        )
      } catch (error) {
        // What this store could not give, the next one may.
        if (onInvalid && hasCode(error, 'TREE_INVALID')) continue
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

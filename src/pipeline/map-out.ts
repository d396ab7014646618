import { MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import { parentsOf } from '../base/paths.ts'
import type { DataFile, EarlierTree } from '../workspace/data.ts'
import type { Entry } from '../workspace/entry.ts'
import { type DatumTable, readRow, type StoredTable } from './datum-table.ts'
import type { Datum } from './datums.ts'
import type { Stage } from './stage.ts'

/** The files of a map stage's one out, put together from what its datums gave. */
export interface MapOut {
  add(datum: Datum, files: readonly DataFile[]): void
  /** Each file once. @throws STAGE_FAILED when two datums wrote one path, or one wrote below what another wrote as a file */
  files(): DataFile[]
}

export function createMapOut(stage: Pick<Stage, 'name'>): MapOut {
  const all = new Map<string, { file: DataFile; datum: Datum }>()
  let refusal: MlvError | undefined
  const refuse = (path: string, one: Datum, other: Datum) => {
    refusal ??= new MlvError('STAGE_FAILED', `Stage "${stage.name}": ${one.name} and ${other.name} both write ${path}`, {
      hint: 'Let each datum write names of its own, for instance after its input.',
    })
  }

  function checkFolders(): void {
    const passed = new Set<string>()
    for (const [path, { datum }] of all)
      for (const at of parentsOf(path)) {
        if (passed.has(at)) break
        passed.add(at)
        const other = all.get(at)
        if (other) refuse(at, other.datum, datum)
      }
  }

  return {
    add(datum, files) {
      for (const file of files) {
        const other = all.get(file.path)
        if (other) refuse(file.path, other.datum, datum)
        else all.set(file.path, { file, datum })
      }
    },
    files() {
      checkFolders()
      if (refusal) throw refusal
      return Array.from(all.values(), ({ file }) => file)
    },
  }
}

/** How the out differs from the one that the last run left. @param made `fresh`: datums whose results have come since; `count`: files of all
 *  @returns undefined where nobody knows, or files have gone, whose folders might be left empty */
export function changesSince(
  entry: Entry,
  { rows }: StoredTable,
  { results, fresh, count }: { results: DatumTable; fresh: ReadonlySet<Oid>; count: number },
): EarlierTree | undefined {
  const gone = new Set<string>()
  for (const [key, text] of rows) {
    if (results.has(key) && !fresh.has(key)) continue
    const files = readRow(text)
    if (!files) return undefined
    for (const { path } of files) gone.add(path)
  }
  const changes = [...fresh].flatMap((key) => results.get(key) ?? [])
  if (entry.kind !== 'tree' || entry.files !== count - changes.length + gone.size) return undefined
  for (const { path } of changes) gone.delete(path)
  return gone.size === 0 ? { entry, changes } : undefined
}

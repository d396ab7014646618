import { mkdirSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileError, hasCode, MlvError, systemCode } from '../base/errors.ts'
import type { Collector, DataFile } from '../workspace/data.ts'
import type { DatumTable } from './datum-table.ts'
import type { PlannedDatum } from './plan-datums.ts'

/** Datums that have run side by side, each in a folder `0`, `1`, … below this one. */
export interface DoneBatch {
  folder: string
  datums: readonly PlannedDatum[]
}

/** A datum that did not give its part. */
export interface Failure {
  planned: PlannedDatum
  error: MlvError
}

export interface MapResults {
  /** Stores what a batch wrote, and adds it to the rows of its datums. @returns whether their folders are empty now */
  take(batch: DoneBatch): Promise<boolean>
  /** where new files lie until all is done, absolute, by their paths in the out */
  readonly places: ReadonlyMap<string, string>
  /** the folder that holds them as the out will; undefined when some could not be moved there */
  readonly ready: string | undefined
}

/** Errors of files that no store takes. */
const UNSTORABLE = ['PATH_UNSUPPORTED', 'PATH_INVALID', 'FILE_UNREADABLE', 'OBJECT_PURGED'] as const

/** Names what lies in a datum's folder as its command does: the folder is gone when somebody reads of it. */
function asWritten({ code, message, hint }: MlvError, folder: string): MlvError {
  return new MlvError(code, message.replaceAll(folder, '{out}'), { hint })
}

/** What the system says where one datum wrote a file and another one a folder, or both the same. */
const IN_THE_WAY = ['EEXIST', 'ENOTDIR', 'EISDIR', 'ENOTEMPTY']

/** Takes in what datums write while others still run: with each batch its files are hashed, stored, and moved together.
 *  @param ready an absolute path where nothing lies */
export function createMapResults(
  ready: string,
  ports: { collector: Collector; results: DatumTable; failures: Failure[] },
): MapResults {
  const { collector, results, failures } = ports
  const places = new Map<string, string>()
  const made = new Set<string>()
  let whole = true

  /** What cannot be stored, a pipe or a file named .git, fails its datum alone. */
  async function collect({ folder, datums }: DoneBatch): Promise<{ files: DataFile[]; lost: Set<PlannedDatum> }> {
    const lost = new Set<PlannedDatum>()
    try {
      return { files: await collector.collect(folder), lost }
    } catch (error) {
      if (!hasCode(error, ...UNSTORABLE)) throw error
    }
    const files: DataFile[] = []
    for (const [index, planned] of datums.entries()) {
      const own = join(folder, String(index))
      try {
        for (const file of await collector.collect(own)) files.push({ ...file, path: `${index}/${file.path}` })
      } catch (error) {
        if (!(error instanceof MlvError) || !hasCode(error, ...UNSTORABLE)) throw error
        failures.push({ planned, error: asWritten(error, own) })
        lost.add(planned)
      }
    }
    return { files, lost }
  }

  function makeFolder(folder: string): void {
    if (made.has(folder)) return
    mkdirSync(folder, { recursive: true })
    made.add(folder)
  }

  function moveReady(path: string, from: string): void {
    const at = join(ready, path)
    try {
      // Two that write one path are told of when all have run.
      if (places.has(path)) throw Object.assign(new Error(), { code: 'EEXIST' })
      makeFolder(dirname(at))
      collector.move(from, at)
      places.set(path, at)
    } catch (error) {
      if (!IN_THE_WAY.includes(systemCode(error) ?? '')) throw fileError(error, 'writing', at)
      whole = false
      places.set(path, from)
    }
  }

  return {
    places,
    get ready() {
      return whole && places.size > 0 ? ready : undefined
    },
    async take(batch) {
      const { files, lost } = await collect(batch)
      const rows = batch.datums.map((planned) => {
        if (lost.has(planned)) return undefined
        const own: DataFile[] = []
        results.set(planned.key, own)
        return own
      })
      for (const file of files) {
        const cut = file.path.indexOf('/')
        const own = cut < 0 ? undefined : rows[Number(file.path.slice(0, cut))]
        if (!own) continue
        const path = file.path.slice(cut + 1)
        own.push({ ...file, path })
        moveReady(path, join(batch.folder, file.path))
      }
      return batch.datums.every((_, index) => isEmpty(join(batch.folder, String(index))))
    },
  }
}

function isEmpty(folder: string): boolean {
  try {
    return readdirSync(folder).length === 0
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(systemCode(error) ?? '')) return false
    throw fileError(error, 'reading', folder)
  }
}

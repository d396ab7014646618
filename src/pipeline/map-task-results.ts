import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { writeFileAtomic } from '../base/atomic.ts'
import { systemCode } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import type { DataFile, WorkspaceData } from '../workspace/data.ts'
import type { Entry } from '../workspace/entry.ts'
import type { Project } from '../workspace/project.ts'
import type { DatumTable } from './datum-table.ts'
import type { RunCache } from './run-cache.ts'
import type { Stage } from './stage.ts'
import { isDatumFolder } from './stray-files.ts'

/** A task that datums of a map stage were given to, to be run anywhere: what it gives has a folder for each, in this order. */
export interface GivenTask {
  /** the task's run key */
  key: Oid
  datums: Oid[]
}

type Place = Pick<Project, 'stateDir'>

function notePath(project: Place, stage: string): string {
  return join(project.stateDir, 'datum-tasks', stage)
}

function isTask(value: unknown): value is GivenTask {
  const { key, datums } = (value ?? {}) as Record<string, unknown>
  return typeof key === 'string' && isOid(key) && Array.isArray(datums)
}

/** Derived, may be lost at any time: then the datums run here. */
function readTasks(project: Place, stage: string): GivenTask[] {
  try {
    const tasks = JSON.parse(readFileSync(notePath(project, stage), 'utf8')) as unknown
    return Array.isArray(tasks) ? tasks.filter(isTask) : []
  } catch (error) {
    if (error instanceof SyntaxError || ['ENOENT', 'EISDIR'].includes(systemCode(error) ?? '')) return []
    throw error
  }
}

export function noteTasks(project: Place, stage: string, tasks: readonly GivenTask[]): void {
  if (tasks.length === 0) return
  const all = new Map([...readTasks(project, stage), ...tasks].map((task) => [task.key, task]))
  writeFileAtomic(notePath(project, stage), JSON.stringify([...all.values()]), { flush: false })
}

export function forgetTasks(project: Place, stage: string): void {
  rmSync(notePath(project, stage), { recursive: true, force: true })
}

/** The files below each numbered folder of a task's out. */
async function filesByDatum(entry: Entry, data: WorkspaceData): Promise<Map<string, DataFile[]>> {
  const found = new Map<string, DataFile[]>()
  for (const file of await data.list(entry)) {
    const cut = file.path.indexOf('/')
    const number = file.path.slice(0, Math.max(0, cut))
    const files = found.get(number) ?? []
    files.push({ ...file, path: file.path.slice(cut + 1) })
    found.set(number, files)
  }
  return found
}

/** What tasks gave that have been run somewhere, for datums that are wanted; fetched into the cache. */
export async function takeTaskResults(
  stage: Stage,
  wanted: ReadonlySet<Oid>,
  { project, data, runCache }: { project: Place; data: WorkspaceData; runCache: RunCache },
): Promise<DatumTable> {
  const results: DatumTable = new Map()
  const tasks = readTasks(project, stage.name).filter(({ datums }) => datums.some((datum) => wanted.has(datum)))
  const given = await runCache.findAll(
    stage,
    tasks.map(({ key }) => key),
  )
  for (const { key, datums } of tasks) {
    const entry = given.get(key)?.outs[0]?.entry
    if (entry?.kind !== 'tree') continue
    const files = await filesByDatum(entry, data)
    // Its command wrote beside the folders of its datums: run here, it says so.
    if ([...files.keys()].some((name) => !isDatumFolder(name, datums.length))) continue
    for (const [at, datum] of datums.entries()) if (wanted.has(datum)) results.set(datum, files.get(String(at)) ?? [])
  }
  return results
}

import { join } from 'node:path'
import { MlvError } from '../base/errors.ts'
import { parentsOf, type RepoPath, upwards } from '../base/paths.ts'
import type { DataFile, Look, WorkspaceData } from '../workspace/data.ts'
import type { Entry } from '../workspace/entry.ts'
import type { Project } from '../workspace/project.ts'
import type { StageGraph } from './graph.ts'
import { sourcesOf } from './notebook.ts'
import { findPointersBeside } from './pointers-beside.ts'
import { type ParamRef, placeText } from './stage.ts'

/** Looks at the workspace, once per path until told to forget. */
export interface Observer {
  /** what lies at an out */
  out(path: RepoPath): Promise<Entry | undefined>
  /** What a stage reads there: a folder without what git ignores, but with the outs of stages. @param cut its files will be asked for, too */
  dep(path: RepoPath, cut?: boolean): Promise<Entry | undefined>
  /** Tracked data in a folder that is not what its pointers say. @returns `away`: what is not all here, with what `dep` counts it as */
  unlike(folder: RepoPath): Promise<Required<Pick<Look, 'away' | 'edited'>>>
  /** the files of what a stage reads there */
  files(path: RepoPath): Promise<DataFile[]>
  /** Stores what stages read at these paths. @returns what each holds, a notebook with its outputs */
  keep(paths: readonly RepoPath[]): Promise<Map<RepoPath, Entry>>
  /** a file whose size, time and inode are those last seen; undefined says nothing */
  glance(path: RepoPath): Entry | undefined
  /** whether a pointer may stand for it: false is certain */
  mayBeTracked(path: RepoPath): boolean
  /** what its pointer says, for paths that have one */
  tracked(path: RepoPath): Promise<Entry | undefined>
  /** @throws PATH_MISSING without the file, PATH_INVALID where it leads out of the project, PARAMS_INVALID without the key, YAML_INVALID */
  param(ref: ParamRef): Promise<unknown>
  /** to be called when a command may have changed anything */
  forget(): void
}

/** JSON has no word for them; these are YAML's. */
function lockable(value: unknown): unknown {
  if (typeof value === 'number' && !Number.isFinite(value)) return Number.isNaN(value) ? '.nan' : value > 0 ? '.inf' : '-.inf'
  if (Array.isArray(value)) return value.map(lockable)
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, lockable(item)]))
  return value ?? null
}

function missingFile(ref: ParamRef): MlvError {
  return new MlvError('PATH_MISSING', `${placeText(ref.at)}: there is no params file ${ref.file}`, {
    hint: `Create ${ref.file}, or take it out of mlv.yaml.`,
  })
}

export function createObserver(
  project: Pick<Project, 'root' | 'revision'>,
  data: WorkspaceData,
  makers: StageGraph['makers'],
): Observer {
  const outs = new Map<RepoPath, Promise<Entry | undefined>>()
  const deps = new Map<RepoPath, Promise<Entry | undefined>>()
  const pointers = new Map<RepoPath, Promise<Entry | undefined>>()
  const looks = new Map<RepoPath, Promise<Look | undefined>>()
  const glances = new Map<RepoPath, Entry | undefined>()
  const { mayBeTracked, forget: forgetPointers } = findPointersBeside(project.root)
  const files = new Map<RepoPath, Promise<unknown>>()

  async function readValues(ref: ParamRef): Promise<unknown> {
    const { readParamFile } = await import('../measure/params.ts')
    // As "mlv params" reads it: never through a link out of the project, whose values mlv.lock would then show.
    const bytes = await (await project.revision(undefined)).read(ref.file)
    if (!bytes) throw missingFile(ref)
    return lockable(readParamFile(bytes, ref.file))
  }

  const inFolders = new Map<RepoPath, RepoPath[]>()
  for (const path of makers.keys())
    for (const at of parentsOf(path)) {
      const inside = inFolders.get(at)
      if (inside) inside.push(path)
      else inFolders.set(at, [path])
    }
  const madeBelow = (path: RepoPath) => inFolders.get(path) ?? []

  /** .gitignore names the outs that mlv stores, and may name others by a wider pattern. */
  function isMade(path: RepoPath): boolean {
    for (const at of upwards(path)) if (makers.has(at)) return true
    return false
  }

  const howToRead = (path: RepoPath) => (isMade(path) ? { all: true } : { also: madeBelow(path) })

  function glance(path: RepoPath): Entry | undefined {
    if (glances.has(path)) return glances.get(path)
    const seen = data.glance(path)
    glances.set(path, seen)
    return seen
  }

  function once<K, V>(memory: Map<K, Promise<V>>, key: K, work: () => Promise<V>): Promise<V> {
    const known = memory.get(key)
    if (known) return known
    const made = work()
    memory.set(key, made)
    return made
  }

  const lookAt = (path: RepoPath) => once(looks, path, () => data.look(path, howToRead(path)))

  return {
    out: (path) => once(outs, path, () => data.hash(path, { all: true })),
    dep: (path, cut) => {
      if (cut) return once(deps, path, async () => (await lookAt(path))?.entry())
      if (isMade(path)) return once(outs, path, () => data.hash(path, { all: true }))
      return once(deps, path, async () => {
        const entry = await (await lookAt(path))?.entry()
        // What a notebook shows of its last run is no input; one that mlv tracks counts as its bytes.
        return entry && path.endsWith('.ipynb') && !mayBeTracked(path) ? sourcesOf(join(project.root, path), entry) : entry
      })
    },
    unlike: async (folder) => {
      const { away = new Map(), edited = [] } = (isMade(folder) ? undefined : await lookAt(folder)) ?? {}
      return { away, edited }
    },
    files: async (path) => (await lookAt(path))?.files() ?? [],
    keep: (paths) => data.keep(paths.map((path) => ({ path, ...howToRead(path) }))),
    glance,
    mayBeTracked,
    tracked: (path) => once(pointers, path, async () => (mayBeTracked(path) ? data.tracked(path) : undefined)),
    async param(ref) {
      const value = await once(files, ref.file, () => readValues(ref))
      if (ref.key === '') return value
      const { pick } = await import('../measure/values.ts')
      const found = pick(value, ref.key)
      if (found === undefined)
        throw new MlvError('PARAMS_INVALID', `${placeText(ref.at)}: ${ref.file} has no key "${ref.key}"`, {
          hint: `Add it to ${ref.file}, or take it out of mlv.yaml.`,
        })
      return found
    },
    forget() {
      outs.clear()
      deps.clear()
      pointers.clear()
      looks.clear()
      glances.clear()
      forgetPointers()
      files.clear()
    },
  }
}

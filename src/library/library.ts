import { resolve } from 'node:path'
import { hasCode, MlvError } from '../base/errors.ts'
import { type RepoPath, repoPathFrom } from '../base/paths.ts'
import { silentProgress } from '../base/progress.ts'
import type { MeasureKind } from '../measure/read.ts'
import { lockOuts } from '../pipeline/lock-outs.ts'
import { openProject as openInside } from '../workspace/open-project.ts'
import type { Project as Inside, Surroundings } from '../workspace/project.ts'
import type { SyncOptions, SyncResult } from '../workspace/sync.ts'
import type { AddOptions, OpenProject, Project, TransferOptions, TransferResult, Value, Values } from './api.ts'

export type * from './api.ts'
export { MlvError }

function transferred({ remote, objects, bytes, missing, purged }: SyncResult): TransferResult {
  return { remote, objects, bytes, missing, purged }
}

export const openProject: OpenProject = async (folder = '.', options = {}) => {
  const surroundings: Surroundings = {
    cwd: resolve(folder),
    env: options.env ?? process.env,
    progress: silentProgress,
    warn: options.onWarning ?? (() => {}),
    lockTimeout: options.lockTimeout,
    command: 'a program',
  }
  const open = () => openInside(surroundings, lockOuts)
  const { root } = await open()

  /** A project of its own for work that looks at the workspace or changes anything: other programs may have been here since. */
  async function afresh<T>(work: (project: Inside) => Promise<T>): Promise<T> {
    const project = await open()
    try {
      const result = await work(project)
      await project.mergeIndexes()
      return result
    } finally {
      await project.close()
    }
  }

  // Readers share one, so that many reads list a remote once. The last of them closes it when it is no longer what new ones get.
  let shared: { project: Promise<Inside>; readers: number } | undefined

  async function leave(one: NonNullable<typeof shared>): Promise<void> {
    if (shared === one || one.readers > 0) return
    await (await one.project.catch(() => undefined))?.close()
  }

  async function close(): Promise<void> {
    const one = shared
    shared = undefined
    if (one) await leave(one)
  }

  /** Reads, and once more with stores opened anew: what is not there may have come since.
   *  @returns also what is to be called when what was found is no longer needed */
  async function begin<T>(read: (project: Inside) => Promise<T>): Promise<{ found: T; end: () => Promise<void> }> {
    for (let again = false; ; again = true) {
      shared ??= { project: open(), readers: 0 }
      const one = shared
      const end = () => {
        one.readers--
        return leave(one)
      }
      one.readers++
      try {
        return { found: await read(await one.project), end }
      } catch (error) {
        if (shared === one) shared = undefined
        await end()
        if (again || !hasCode(error, 'OBJECT_MISSING', 'REVISION_UNKNOWN', 'REMOTE_MISSING', 'PATH_MISSING')) throw error
      }
    }
  }

  const pathOf = (path: string): RepoPath => repoPathFrom(path, root, root)
  /** @throws USAGE, for programs that no compiler has seen */
  function pathsOf(paths: string[]): RepoPath[] {
    if (Array.isArray(paths) && paths.every((path) => typeof path === 'string')) return paths.map(pathOf)
    throw new MlvError('USAGE', 'Paths are given as a list of texts', { hint: 'Write ["data"] for the path data.' })
  }
  /** @throws USAGE, as the command line does: with NaN jobs nothing would be transferred, and with another text no pointer could be read */
  function checkOptions({ jobs = 1, desc = '', labels = [] }: TransferOptions & AddOptions): void {
    if (!(Number.isInteger(jobs) && jobs > 0 && jobs <= 256))
      throw new MlvError('USAGE', `jobs is no whole number from 1 to 256: ${jobs}`, {
        hint: 'Leave it out, or write for example 8.',
      })
    if (typeof desc !== 'string' || !Array.isArray(labels) || !labels.every((label) => typeof label === 'string'))
      throw new MlvError('USAGE', 'desc is a text, labels are a list of texts', { hint: 'Write for example { desc: "ours" }.' })
  }
  const syncOptions = (options: TransferOptions): SyncOptions => {
    checkOptions(options)
    return { ...options, paths: options.paths && pathsOf(options.paths) }
  }

  async function* readFile(path: RepoPath, revisionName: string | undefined): AsyncGenerator<Uint8Array> {
    const { findIn, findTarget, nothingAt } = await import('../workspace/find-entry.ts')
    const find = async (project: Inside): Promise<AsyncIterable<Uint8Array>> => {
      const revision = await project.revision(revisionName)
      const target = await findTarget(project, revision, path)
      if (!target) {
        const bytes = await revision.read(path)
        if (bytes) return only(bytes)
        throw nothingAt(project, revision, path)
      }
      const { entry, storeOf } = await findIn(project, revision, target, path)
      if (entry.kind !== 'tree') return (await storeOf(entry.oid)).stream(entry.oid)
      throw new MlvError('PATH_UNSUPPORTED', `${path} is a folder`, { hint: 'Name a file in it; list() says what there is.' })
    }
    // Whether it is there shows with the first piece.
    const { found, end } = await begin(async (project) => {
      const pieces = (await find(project))[Symbol.asyncIterator]()
      return { pieces, first: await pieces.next() }
    })
    try {
      for (let next = found.first; !next.done; next = await found.pieces.next()) yield next.value
    } finally {
      await found.pieces.return?.()
      await end()
    }
  }

  async function measures(kind: MeasureKind, revision: string | undefined): Promise<Values> {
    const { readMeasures } = await import('../measure/read.ts')
    return afresh(async (project) => {
      const { files, problems } = await readMeasures(kind, await project.revision(revision))
      const [first] = problems
      if (first) throw new MlvError(first.code as MlvError['code'], first.message, { hint: 'Correct the file.' })
      return Object.fromEntries([...files].map(([file, values]) => [file, Object.fromEntries(values) as Record<string, Value>]))
    })
  }

  const project: Project = {
    root,
    close,
    async status(paths = []) {
      const { readStatus } = await import('../workspace/status.ts')
      return afresh((inside) => readStatus(inside, pathsOf(paths)))
    },
    async add(paths, addOptions = {}) {
      checkOptions(addOptions)
      const { addPaths } = await import('../workspace/add.ts')
      const { added, written } = await afresh((inside) => addPaths(inside, pathsOf(paths), addOptions))
      return { added: added.map(({ path, entry, changed }) => ({ path, oid: entry.oid, size: entry.size, changed })), written }
    },
    async push(transfer = {}) {
      const { push } = await import('../workspace/sync.ts')
      return transferred(await afresh((inside) => push(inside, syncOptions(transfer))))
    },
    async fetch(transfer = {}) {
      const { fetchData } = await import('../workspace/sync.ts')
      return transferred(await afresh((inside) => fetchData(inside, syncOptions(transfer))))
    },
    async pull({ force, ...transfer } = {}) {
      const { pull } = await import('../workspace/pull.ts')
      return transferred(await afresh((inside) => pull(inside, { ...syncOptions(transfer), force })))
    },
    async list(path = '.', { revision: name, recursive } = {}) {
      const { listData } = await import('../workspace/list-data.ts')
      const { found, end } = await begin(async (inside) => {
        const rows = []
        const revision = await inside.revision(name)
        for await (const { tracked: _tracked, ...row } of listData(inside, revision, { path: pathOf(path), recursive }))
          rows.push(row)
        return rows
      })
      await end()
      return found
    },
    async read(path, { revision } = {}) {
      const pieces: Uint8Array[] = []
      for await (const piece of readFile(pathOf(path), revision)) pieces.push(piece)
      return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
    },
    async *stream(path, { revision } = {}) {
      yield* readFile(pathOf(path), revision)
    },
    metrics: (revision) => measures('metrics', revision),
    params: (revision) => measures('params', revision),
  }
  return project
}

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

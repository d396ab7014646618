import type { Commit, CommitChanges, Git } from '../git/git.ts'
import { type Declared, declaredByDefault, declares, LOCK_FILE, PIPELINE_FILE, parseDeclared } from '../measure/declared.ts'
import { isBrokenFile, type Problem, problemOf } from '../measure/read.ts'

/** What one version of mlv.yaml says; `problem` when it is broken, and then the defaults hold. */
export interface PipelineView {
  /** tells versions apart: git's blob id, '' where there is no mlv.yaml */
  id: string
  declared: Declared
  problem: Problem | undefined
}

/** A commit with the files that may hold its params and metrics. */
export interface CommitFiles {
  commit: Commit
  pipeline: PipelineView
  /** git's blob ids by path in the project; more files than the commit's own mlv.yaml names may stand here */
  files: ReadonlyMap<string, string>
  /** whether it changed params, metrics or the lock against its first parent; false when that was not asked */
  changed: boolean
}

/** Where the project lies in the repository. */
export interface HistorySource {
  git: Git
  /** '' or 'sub/dir' */
  prefix: string
}

const NO_PIPELINE: PipelineView = { id: '', declared: declaredByDefault(), problem: undefined }

function viewPipeline(id: string, bytes: Uint8Array): PipelineView {
  try {
    return { id, declared: parseDeclared(Buffer.from(bytes).toString('utf8'), PIPELINE_FILE), problem: undefined }
  } catch (error) {
    if (!isBrokenFile(error)) throw error
    return { id, declared: declaredByDefault(), problem: problemOf(PIPELINE_FILE, error) }
  }
}

/** Reads each version of mlv.yaml once. @returns a view by blob id; '' and unknown ids give the defaults */
async function readPipelines(git: Git, ids: Iterable<string>): Promise<(id: string | undefined) => PipelineView> {
  const views = new Map<string, PipelineView>()
  for (const [id, bytes] of await git.readBlobs(ids)) views.set(id, viewPipeline(id, bytes))
  return (id) => views.get(id ?? '') ?? NO_PIPELINE
}

function declaredFiles({ declared }: PipelineView) {
  return [...declared.params, ...declared.metrics]
}

/** Answers whether some version of mlv.yaml means a path, without asking each version again. */
function createRelevance(views: Iterable<PipelineView>): (path: string) => boolean {
  const all = [...views].flatMap(declaredFiles)
  const paths = new Set<string>([PIPELINE_FILE, LOCK_FILE, ...all.filter((file) => !file.pattern).map((file) => file.path)])
  const patterns = [
    ...new Map(all.flatMap((file) => (file.pattern ? [[file.pattern.source, file.pattern] as const] : []))).values(),
  ]
  return (path) => paths.has(path) || patterns.some((pattern) => pattern.test(path))
}

function isMeasure(path: string, ...views: PipelineView[]): boolean {
  return path === LOCK_FILE || views.some((view) => declaredFiles(view).some((file) => declares(file, path)))
}

/** Paths in the project of what a commit changed. */
function ownChanges(changes: CommitChanges, prefix: string): CommitChanges['changed'] {
  if (prefix === '') return changes.changed
  const start = `${prefix}/`
  return changes.changed.flatMap(({ path, blob }) => (path.startsWith(start) ? [{ path: path.slice(start.length), blob }] : []))
}

/** Walks all history behind `from` and carries the files of interest along first parents, so that one `git log` tells them for every commit.
 *  @returns newest first */
export async function walkCommits({ git, prefix }: HistorySource, from: string[]): Promise<CommitFiles[]> {
  const log = await git.logChanges(from, prefix === '' ? {} : { paths: [`:(top,literal)${prefix}`] })
  const history = log.map((commit) => ({ commit, changed: ownChanges(commit, prefix) }))
  const ids = history.flatMap(({ changed }) =>
    changed.filter(({ path }) => path === PIPELINE_FILE).flatMap(({ blob }) => blob ?? []),
  )
  const pipelineOf = await readPipelines(git, new Set(ids))
  const isRelevant = createRelevance([NO_PIPELINE, ...new Set(ids.map(pipelineOf))])
  const states = new Map<string, CommitFiles>()
  // Parents stand behind their children in the log.
  for (const { commit, changed } of history.reverse()) {
    const { changed: _all, ...plain } = commit
    const parent = states.get(commit.parents[0] ?? '')
    const relevant = changed.filter(({ path }) => isRelevant(path))
    const before = parent?.pipeline ?? NO_PIPELINE
    const files = relevant.length === 0 && parent ? parent.files : applyChanges(parent?.files, relevant)
    const pipeline = relevant.some(({ path }) => path === PIPELINE_FILE) ? pipelineOf(files.get(PIPELINE_FILE)) : before
    states.set(commit.id, {
      commit: plain,
      pipeline,
      files,
      changed: relevant.some(({ path }) => isMeasure(path, pipeline, before)),
    })
  }
  return [...states.values()].reverse()
}

function applyChanges(files: ReadonlyMap<string, string> | undefined, changes: CommitChanges['changed']): Map<string, string> {
  const next = new Map(files)
  for (const { path, blob } of changes) {
    if (blob === undefined) next.delete(path)
    else next.set(path, blob)
  }
  return next
}

/** Reads some commits alone, without the history behind them. @returns in the order of `ids`; unknown ones are left out */
export async function readCommits(source: HistorySource, ids: string[]): Promise<CommitFiles[]> {
  const { git, prefix } = source
  const gitPath = (path: string) => (prefix === '' ? path : `${prefix}/${path}`)
  const commits = [...(await git.commits(ids)).values()]
  const pipelineIds = await git.blobsAt(commits.map(({ id }) => ({ commit: id, path: gitPath(PIPELINE_FILE) })))
  const pipelineOf = await readPipelines(git, new Set(pipelineIds.flatMap((id) => id ?? [])))
  return Promise.all(
    commits.map(async (commit, index): Promise<CommitFiles> => {
      const pipeline = pipelineOf(pipelineIds[index])
      const wanted = declaredFiles(pipeline)
      const files = wanted.some((file) => file.pattern)
        ? await listFiles(source, commit.id)
        : await findFiles(source, commit.id, [...new Set(wanted.map((file) => file.path))])
      return { commit, pipeline, files, changed: false }
    }),
  )
}

async function findFiles({ git, prefix }: HistorySource, commit: string, paths: string[]): Promise<Map<string, string>> {
  const blobs = await git.blobsAt(paths.map((path) => ({ commit, path: prefix === '' ? path : `${prefix}/${path}` })))
  return new Map(paths.flatMap((path, index) => (blobs[index] === undefined ? [] : [[path, blobs[index]] as const])))
}

async function listFiles({ git, prefix }: HistorySource, commit: string): Promise<Map<string, string>> {
  const files = await git.list(commit, prefix)
  return new Map(files.map(({ path, blob }) => [prefix === '' ? path : path.slice(prefix.length + 1), blob]))
}

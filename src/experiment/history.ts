import type { Commit, GitRef } from '../git/git.ts'
import {
  type Declared,
  type DeclaredFile,
  declaredByDefault,
  expandDeclared,
  PIPELINE_FILE,
  readDeclared,
} from '../measure/declared.ts'
import { isBrokenFile, type MeasureKind, type Problem, problemOf, readMeasures, readValues } from '../measure/read.ts'
import type { FlatValues } from '../measure/values.ts'
import type { Project } from '../workspace/project.ts'
import { type CommitFiles, type HistorySource, readCommits, walkCommits } from './commit-files.ts'

/** Values by file, then by dotted key. */
export type ValuesByFile = ReadonlyMap<string, FlatValues>

/** One line of the experiment table: a commit, or the workspace. */
export interface ExperimentRow {
  /** undefined for the workspace */
  commit: Commit | undefined
  /** short names of branches and tags at the commit; `workspace` for the workspace */
  names: string[]
  isHead: boolean
  params: ValuesByFile
  metrics: ValuesByFile
  /** files that could not be read there */
  problems: Problem[]
}

/** Which rows are wanted. */
export interface HistorySelection {
  /** exactly these commits, by full id; the rest then does not count */
  commits?: string[]
  /** the tips of all branches, not only of those under exp/ */
  allBranches?: boolean
  /** every commit of every branch and tag that changed params, metrics or the lock */
  allCommits?: boolean
  /** the newest rows of the history behind the tips, at most this many besides the workspace */
  limit?: number
  /** leave the workspace out */
  withoutWorkspace?: boolean
}

/** The branch an experiment is the tip of: `exp/NAME`, here or on a remote. */
function isExperiment(ref: GitRef): boolean {
  return /^refs\/(?:heads|remotes\/[^/]+)\/exp\//.test(ref.name)
}

function isBranch(ref: GitRef): boolean {
  return /^refs\/(?:heads|remotes)\//.test(ref.name)
}

/** Branch and tag names by commit. A remote's branch is named only where no local one of its name is at the same commit. */
function namesByCommit(refs: GitRef[]): Map<string, string[]> {
  const names = new Map<string, string[]>()
  const kinds = [/^refs\/heads\/(.+)$/, /^refs\/tags\/(.+)$/, /^refs\/remotes\/([^/]+\/.+)$/]
  for (const kind of kinds) {
    for (const ref of refs) {
      const name = kind.exec(ref.name)?.[1]
      if (name === undefined || /^[^/]+\/HEAD$/.test(name)) continue
      const held = names.get(ref.commit) ?? []
      if (kind === kinds[2] && held.includes(name.slice(name.indexOf('/') + 1))) continue
      names.set(ref.commit, [...held, name])
    }
  }
  return names
}

async function selectCommits(
  source: HistorySource,
  selection: HistorySelection,
  refs: GitRef[],
  head: string | undefined,
): Promise<CommitFiles[]> {
  if (selection.commits) return readCommits(source, selection.commits)
  const tips = refs.filter((ref) => (selection.allBranches ? isBranch(ref) : isExperiment(ref))).map((ref) => ref.commit)
  const wanted = new Set(head === undefined ? tips : [head, ...tips])
  if (!selection.allCommits && selection.limit === undefined) return readCommits(source, [...wanted])
  const everywhere = refs.filter((ref) => isBranch(ref) || ref.name.startsWith('refs/tags/')).map((ref) => ref.commit)
  const walked = await walkCommits(source, [...new Set(selection.allCommits ? [...wanted, ...everywhere] : wanted)])
  return walked.filter((row) => row.changed || wanted.has(row.commit.id)).slice(0, selection.limit)
}

interface PlannedFile {
  file: DeclaredFile
  blob: string
}

function planFiles(kind: MeasureKind, { pipeline, files }: CommitFiles): PlannedFile[] {
  return expandDeclared(pipeline.declared[kind], files.keys()).flatMap((file) => {
    const blob = files.get(file.path)
    return blob === undefined ? [] : [{ file, blob }]
  })
}

/** Parses each version of a file once, however many commits have it. */
function createReader(blobs: Map<string, Uint8Array>) {
  const read = new Map<string, FlatValues | Problem>()
  return (kind: MeasureKind, { file, blob }: PlannedFile, { pipeline }: CommitFiles): FlatValues | Problem => {
    // The same bytes may be read in another way once mlv.yaml says so.
    const key = `${kind}\0${file.path}\0${blob}\0${pipeline.id}`
    let found = read.get(key)
    if (found === undefined) {
      found = readBlob(kind, file, pipeline.declared, blobs.get(blob))
      read.set(key, found)
    }
    return found
  }
}

function readBlob(
  kind: MeasureKind,
  file: DeclaredFile,
  declared: Declared,
  bytes: Uint8Array | undefined,
): FlatValues | Problem {
  if (!bytes) return { file: file.path, code: 'GIT_FAILED', message: `${file.path}: git has no such blob` }
  try {
    return readValues(kind, bytes, { name: file.path, declared: file, rules: declared.rules.get(file.path) })
  } catch (error) {
    if (!isBrokenFile(error)) throw error
    return problemOf(file.path, error)
  }
}

async function readRows(
  source: HistorySource,
  commits: CommitFiles[],
  names: Map<string, string[]>,
  head: string | undefined,
): Promise<ExperimentRow[]> {
  const planned = commits.map((files) => ({ files, params: planFiles('params', files), metrics: planFiles('metrics', files) }))
  const blobs = new Set(planned.flatMap(({ params, metrics }) => [...params, ...metrics].map(({ blob }) => blob)))
  const read = createReader(await source.git.readBlobs(blobs))
  return planned.map(({ files, ...plans }) => {
    const { commit, pipeline } = files
    const problems = pipeline.problem ? [pipeline.problem] : []
    const collect = (kind: MeasureKind): ValuesByFile => {
      const values = new Map<string, FlatValues>()
      for (const plan of plans[kind]) {
        const found = read(kind, plan, files)
        if (found instanceof Map) values.set(plan.file.path, found)
        else problems.push(found)
      }
      return values
    }
    return {
      commit,
      names: names.get(commit.id) ?? [],
      isHead: commit.id === head,
      params: collect('params'),
      metrics: collect('metrics'),
      problems,
    }
  })
}

async function readWorkspace(project: Pick<Project, 'revision'>): Promise<ExperimentRow> {
  const revision = await project.revision(undefined)
  const problems: Problem[] = []
  let declared = declaredByDefault()
  try {
    declared = await readDeclared(revision)
  } catch (error) {
    if (!isBrokenFile(error)) throw error
    problems.push(problemOf(PIPELINE_FILE, error))
  }
  const params = await readMeasures('params', revision, { declared })
  const metrics = await readMeasures('metrics', revision, { declared })
  problems.push(...params.problems, ...metrics.problems)
  return { commit: undefined, names: ['workspace'], isHead: false, params: params.files, metrics: metrics.files, problems }
}

/** Reads the experiment table from git alone: no data, no credentials. By default the workspace, HEAD and the tips of branches `exp/…`.
 *  A row's files are those its own commit's mlv.yaml names; a broken one becomes a problem of the row.
 *  @returns the workspace first, then commits as git log orders them, newest first */
export async function readHistory(
  project: Pick<Project, 'git' | 'prefix' | 'revision'>,
  selection: HistorySelection = {},
): Promise<ExperimentRow[]> {
  const git = await project.git()
  const source = { git, prefix: project.prefix }
  const [refs, head] = await Promise.all([git.refs(), git.resolve('HEAD')])
  const [commits, workspace] = await Promise.all([
    selectCommits(source, selection, refs, head),
    selection.withoutWorkspace || selection.commits ? [] : readWorkspace(project).then((row) => [row]),
  ])
  return [...workspace, ...(await readRows(source, commits, namesByCommit(refs), head))]
}

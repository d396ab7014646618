import { basename } from 'node:path'
import { hasCode, MlvError } from '../base/errors.ts'
import { type ExperimentRow, type HistorySelection, readHistory, type ValuesByFile } from '../experiment/history.ts'
import type { Git } from '../git/git.ts'
import { shortId } from '../git/short-id.ts'
import { type LockedDep, parseLock } from '../pipeline/lock.ts'
import { LOCK_FILE } from '../pipeline/stage.ts'
import { resolveCommit } from '../workspace/open-revision.ts'
import type { Project } from '../workspace/project.ts'
import { type ExportRow, type ExportSource, publicUrl, repositoryName } from './run.ts'
import { type Dataset, LIMITS } from './wire.ts'

/** Which commits to export: those `mlv exp show` lists, or the named ones. */
export interface RowChoice {
  /** names of commits, or ranges `A..B`; when empty the selection decides */
  revisions: string[]
  allBranches?: boolean
  allCommits?: boolean
  limit?: number
}

/** The rows, and what about them the user should know. */
export interface ExportRows {
  rows: ExportRow[]
  source: ExportSource
  notes: string[]
}

/** The commits a range names that are rows of the history: those that changed params, metrics or the lock. */
async function readRange(project: Project, git: Git, range: string): Promise<ExperimentRow[]> {
  const [from, to] = range.split('..') as [string, string]
  const inside = await git.log([await resolveCommit(git, to || 'HEAD')], { not: [await resolveCommit(git, from || 'HEAD')] })
  const ids = new Set(inside.map((commit) => commit.id))
  const rows = await readHistory(project, { allCommits: true, withoutWorkspace: true })
  return rows.filter((row) => row.commit && ids.has(row.commit.id))
}

async function selectRows(project: Project, git: Git, choice: RowChoice): Promise<ExperimentRow[]> {
  if (choice.revisions.length === 0) {
    const selection: HistorySelection = { ...choice, withoutWorkspace: true }
    return readHistory(project, selection)
  }
  const rows = new Map<string, ExperimentRow>()
  const isRange = (name: string) => name.includes('..')
  const names = choice.revisions.filter((name) => !isRange(name))
  const commits = await Promise.all(names.map((name) => resolveCommit(git, name)))
  const found = commits.length > 0 ? await readHistory(project, { commits: [...new Set(commits)], withoutWorkspace: true }) : []
  for (const range of choice.revisions.filter(isRange)) {
    if (range.includes('...'))
      throw new MlvError('USAGE', `"${range}" names two histories`, { hint: 'Give a range A..B, or commits, branches and tags.' })
    found.push(...(await readRange(project, git, range)))
  }
  for (const row of found) if (row.commit) rows.set(row.commit.id, row)
  return [...rows.values()]
}

/** One key for each value: `file:key` only where several files of the commit have the key, so that a commit's keys follow from it alone. */
function nameValues(files: ValuesByFile): Record<string, unknown> {
  const uses = new Map<string, number>()
  for (const values of files.values()) for (const key of values.keys()) uses.set(key, (uses.get(key) ?? 0) + 1)
  const nameOf = (file: string, key: string) => (key === '' ? file : uses.get(key)! > 1 ? `${file}:${key}` : key)
  return Object.fromEntries([...files].flatMap(([file, values]) => [...values].map(([key, value]) => [nameOf(file, key), value])))
}

/** Branch names by commit, an experiment's first; a remote's branch counts under its own name, so that every clone says the same. */
async function branchesByCommit(git: Git): Promise<Map<string, string[]>> {
  const branches = new Map<string, string[]>()
  for (const ref of await git.refs()) {
    const name = /^refs\/(?:heads|remotes\/[^/]+)\/(.+)$/.exec(ref.name)?.[1]
    if (name === undefined || name === 'HEAD') continue
    const held = branches.get(ref.commit) ?? []
    if (!held.includes(name)) branches.set(ref.commit, [...held, name])
  }
  return branches
}

/** Deps of the lock at each commit that a pointer stands for: the data a run was made from. */
async function readDatasets(
  git: Git,
  prefix: string,
  rows: ExperimentRow[],
): Promise<{ datasets: Map<string, Dataset[]>; notes: string[] }> {
  const inGit = (path: string) => (prefix === '' ? path : `${prefix}/${path}`)
  const commits = rows.flatMap((row) => row.commit?.id ?? [])
  const lockIds = await git.blobsAt(commits.map((commit) => ({ commit, path: inGit(LOCK_FILE) })))
  const texts = await git.readBlobs(new Set(lockIds.flatMap((id) => id ?? [])))
  const depsOf = new Map<string, LockedDep[]>()
  const notes: string[] = []
  for (const [id, bytes] of texts) {
    try {
      depsOf.set(id, listDeps(await parseLock(Buffer.from(bytes).toString('utf8'))))
    } catch (error) {
      if (!hasCode(error, 'LOCK_INVALID')) throw error
      notes.push(
        `${LOCK_FILE} at ${shortId(commits[lockIds.indexOf(id)]!)} cannot be read, so its datasets stay out: ${error.message}`,
      )
    }
  }
  const wanted = commits.flatMap((commit, index) => (depsOf.get(lockIds[index] ?? '') ?? []).map((dep) => ({ commit, dep })))
  const requests = wanted.flatMap(({ commit, dep }) => pointersFor(dep.path).map((path) => ({ commit, path: inGit(path) })))
  const pointers = await git.blobsAt(requests)
  const tracked = new Set(requests.flatMap(({ commit, path }, index) => (pointers[index] ? [`${commit}\0${path}`] : [])))
  const datasets = new Map<string, Dataset[]>()
  for (const { commit, dep } of wanted) {
    if (!pointersFor(dep.path).some((path) => tracked.has(`${commit}\0${inGit(path)}`))) continue
    datasets.set(commit, [...(datasets.get(commit) ?? []), formatDep(dep)])
  }
  return { datasets, notes }
}

function listDeps({ stages }: Awaited<ReturnType<typeof parseLock>>): LockedDep[] {
  const deps = new Map<string, LockedDep>()
  for (const stage of stages.values()) for (const dep of stage.deps) deps.set(`${dep.path}\0${dep.entry.oid}`, dep)
  return [...deps.values()]
}

/** Every pointer that may stand for a path: its own, and those of the folders above it. */
function pointersFor(path: string): string[] {
  return path.split('/').map((_segment, index, all) => `${all.slice(0, index + 1).join('/')}.mlv`)
}

function formatDep({ path, entry }: LockedDep): Dataset {
  const { kind, oid, size } = entry
  return {
    name: path,
    digest: oid.slice(0, LIMITS.datasetDigest),
    sourceType: 'mlv',
    source: JSON.stringify({ path, kind, oid, size }),
  }
}

/** Reads the commits to export with their params, metrics and datasets from git alone. Commits without params and metrics are left out.
 *  @throws REVISION_UNKNOWN, USAGE, GIT_SHALLOW, GIT_FAILED */
export async function readExportRows(project: Project, choice: RowChoice): Promise<ExportRows> {
  const git = await project.git()
  const selected = await selectRows(project, git, choice)
  const rows = selected.filter((row) => row.params.size > 0 || row.metrics.size > 0)
  const [branches, remoteUrl, { datasets, notes }] = await Promise.all([
    branchesByCommit(git),
    git.config('remote.origin.url'),
    readDatasets(git, project.prefix, rows),
  ])
  for (const row of selected)
    for (const problem of row.problems)
      notes.push(`${row.commit && shortId(row.commit.id)}: ${problem.message}; its values stay out`)
  return {
    // The history has parents behind their children; of commits in one second this alone tells the order.
    rows: rows.reverse().flatMap(({ commit, params, metrics }): ExportRow[] => {
      if (!commit) return []
      const { id, author, subject } = commit
      return [
        {
          commit: id,
          time: author.time,
          author,
          subject,
          labels: branches.get(id) ?? [],
          params: nameValues(params),
          metrics: nameValues(metrics),
          datasets: datasets.get(id) ?? [],
        },
      ]
    }),
    source: { prefix: project.prefix, remoteUrl, name: basename(project.place.workTree) },
    notes: [...new Set(notes)],
  }
}

/** The experiment's name when none is given: the repository's, the same in every clone that has its remote, and the project's folder in it. */
export function defaultExperiment({ prefix, remoteUrl, name }: ExportSource): string {
  const repository = (remoteUrl === undefined ? undefined : repositoryName(publicUrl(remoteUrl) ?? remoteUrl)) ?? name
  return prefix === '' ? repository : `${repository}/${prefix}`
}

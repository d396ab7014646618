import { hasCode, MlvError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import { type BranchWriter, openBranchWriter } from '../git/branch-commit.ts'
import { shortId } from '../git/short-id.ts'
import { pointerEntry } from './add-checks.ts'
import type { Entry } from './entry.ts'
import { commitRevision, resolveCommit } from './open-revision.ts'
import { formatPointer, type Pointer, parsePointer, pointerPathOf } from './pointer.ts'
import type { Project } from './project.ts'
import { keptSource, parseSource, type Source } from './source.ts'
import { push } from './sync.ts'
import type { TriggerPlan } from './trigger.ts'
import { importFailure } from './update.ts'

export interface CommittedImports {
  branch: string
  /** the branch's commit; undefined where there is no such branch, because nothing was to be committed */
  commit: string | undefined
  /** what this command committed; what the branch had already is not among them */
  paths: RepoPath[]
  pushed: boolean
  failed: { path: RepoPath; error: MlvError }[]
}

export interface CommitOptions {
  branch: string
  /** data to the remote, then the branch to git's remote */
  push: boolean
}

/** Where the next commit goes. */
interface Stand {
  /** what the branch has here, to see whether it moved */
  was: string | undefined
  /** the newest commit of the branch, here or on git's remote */
  tip: string | undefined
  /** whose files the commit has besides the pointers */
  base: string
  parents: string[]
  /** pointer files, from the top, that stay as the branch has them */
  kept: string[]
}

function diverged(branch: string, remote: string): MlvError {
  return new MlvError('BRANCH_MOVED', `The branch ${branch} here and on ${remote} have gone different ways`, {
    hint: `Merge ${remote}/${branch} into it, or delete one of them.`,
  })
}

async function newest(writer: BranchWriter, branch: string, remote: string): Promise<Pick<Stand, 'was' | 'tip'>> {
  const { own, remote: theirs } = await writer.tip(branch)
  if (own === undefined || theirs === undefined || own === theirs) return { was: own, tip: own ?? theirs }
  if (await writer.isAncestor(own, theirs)) return { was: own, tip: theirs }
  if (await writer.isAncestor(theirs, own)) return { was: own, tip: own }
  throw diverged(branch, remote)
}

/** A branch that only ever updated pointers follows HEAD, so that it merges; others' work on it stays below the new commit. */
async function findStand(
  project: Project,
  writer: BranchWriter,
  { head, ...tips }: { head: string } & Pick<Stand, 'was' | 'tip'>,
): Promise<Stand> {
  const { tip } = tips
  if (tip === undefined || (await writer.isAncestor(tip, head))) return { ...tips, base: head, parents: [head], kept: [] }
  const behind: Stand = { ...tips, base: tip, parents: [tip], kept: [] }
  if (await writer.isAncestor(head, tip)) return behind
  const fork = await (await project.git()).mergeBase(head, tip)
  if (fork === undefined) return behind
  const theirs = await writer.changed(fork, tip)
  if (!theirs.every((path) => path.endsWith('.mlv'))) return behind
  const ours = new Set(await writer.changed(fork, head))
  return { ...tips, base: head, parents: [tip, head], kept: theirs.filter((path) => !ours.has(path)) }
}

interface Taken {
  entry: Entry
  source: Source
}

/** Reads a pointer at a commit, with its source. */
async function pointerAt(project: Project, commit: string, path: RepoPath): Promise<Pointer | undefined> {
  const revision = commitRevision(await project.git(), project.prefix, commit, shortId(commit))
  const file = pointerPathOf(path)
  const bytes = await revision.read(file)
  return bytes && parsePointer(Buffer.from(bytes).toString('utf8'), `${revision.name}:${file}`)
}

function describe(
  path: RepoPath,
  { counts, source }: { counts?: TriggerPlan['imports'][number]['counts']; source: Source },
): string {
  const from = 'repo' in source ? `${source.repo} ${source.path} at ${shortId(source.commit)}` : source.url
  const files = counts ? ` (+${counts.added} -${counts.deleted} ~${counts.modified})` : ''
  return `${path}: ${from}${files}`
}

function messageOf(plan: TriggerPlan, taken: ReadonlyMap<RepoPath, Taken>, paths: readonly RepoPath[]): string {
  const lines = paths.map((path) =>
    describe(path, { counts: plan.imports.find((one) => one.path === path)?.counts, source: taken.get(path)!.source }),
  )
  return `${paths.length === 1 ? `Update ${paths[0]}` : `Update ${paths.length} imports`}\n\n${lines.join('\n')}\n`
}

/** How often a branch may move under way. */
const TRIES = 3

/** Takes the newer versions into the cache and commits their pointers onto a branch; the workspace, its index and its branch stay as they are.
 *  What the branch has already is not committed again, and commits of others on it stay.
 *  @throws GIT_MISSING, USAGE, BRANCH_IN_USE, BRANCH_MOVED, REVISION_UNKNOWN, REMOTE_FAILED, and what concerns all imports */
export async function commitImports(project: Project, plan: TriggerPlan, options: CommitOptions): Promise<CommittedImports> {
  const { branch } = options
  const git = await project.git()
  const head = await resolveCommit(git, 'HEAD')
  const remote = await gitRemote(project)
  const writer = await openBranchWriter(project.place, project.surroundings.env, { branch, remote })
  if (options.push) await fetchBranch(project, writer, { branch, remote })
  const result: CommittedImports = { branch, commit: undefined, paths: [], pushed: false, failed: [] }
  const taken = new Map<RepoPath, Taken>()
  for (let tries = 1; ; tries++) {
    const stand = await findStand(project, writer, { head, ...(await newest(writer, branch, remote)) })
    const files = await pendingFiles(project, plan, { stand, taken, failed: result.failed })
    result.commit = stand.tip
    if (files.paths.length === 0) break
    // What a collection has condemned meanwhile must be stored again before the branch refers to it.
    if (await (await project.cache('write')).recheck()) {
      taken.clear()
      continue
    }
    try {
      const message = messageOf(plan, taken, files.paths)
      result.commit = await writer.commit({ branch, message, ...stand, files: files.texts })
      result.paths = files.paths
      break
    } catch (error) {
      if (tries === TRIES || !hasCode(error, 'BRANCH_MOVED')) throw error
    }
  }
  if (options.push) result.pushed = await pushBranch(project, writer, result)
  return result
}

/** The pointer files that the branch lacks, with the data they name in the cache. */
async function pendingFiles(
  project: Project,
  plan: TriggerPlan,
  { stand, taken, failed }: { stand: Stand; taken: Map<RepoPath, Taken>; failed: CommittedImports['failed'] },
): Promise<{ paths: RepoPath[]; texts: Map<string, string> }> {
  const git = await project.git()
  const paths: RepoPath[] = []
  const texts = new Map<string, string>()
  const keep = new Set(stand.kept)
  for (const [path, { look }] of plan.looks) {
    if (failed.some((one) => one.path === path)) continue
    try {
      const file = pointerPathOf(path)
      const there = stand.tip === undefined ? undefined : await pointerAt(project, stand.tip, path)
      if (there?.source && look.isIn({ entry: there.entry, source: parseSource(there.source, file) })) {
        if (stand.base !== stand.tip) keep.add(project.gitPath(file))
        continue
      }
      const base = await pointerAt(project, stand.base, path)
      if (!base) throw lacksImport(path)
      if (!taken.has(path)) taken.set(path, await look.take())
      const { entry, source } = taken.get(path)!
      texts.set(
        project.gitPath(file),
        await formatPointer({ ...base, entry: pointerEntry(path, entry), source: keptSource(source) }),
      )
      paths.push(path)
      keep.delete(project.gitPath(file))
    } catch (error) {
      failed.push({ path, error: importFailure(error) })
    }
  }
  if (paths.length > 0)
    for (const file of keep) {
      const bytes = await git.read(stand.tip!, file)
      if (bytes) texts.set(file, Buffer.from(bytes).toString('utf8'))
    }
  return { paths, texts }
}

function lacksImport(path: RepoPath): MlvError {
  return new MlvError('PATH_MISSING', `${path} is not imported on that branch yet`, {
    hint: 'Merge the current branch into it, delete it, or name another one with --branch.',
  })
}

/** Where this branch's commits go: the remote it follows, else origin. */
async function gitRemote(project: Project): Promise<string> {
  const git = await project.git()
  const current = await git.branch()
  const named = current === undefined ? undefined : await git.config(`branch.${current}.remote`)
  return named === undefined || named === '.' || named.startsWith('-') ? 'origin' : named
}

/** What has gone from git's remote since this clone saw it there was merged, and no longer counts here. */
async function fetchBranch(
  project: Project,
  writer: BranchWriter,
  { branch, remote }: { branch: string; remote: string },
): Promise<void> {
  if ((await (await project.git()).config(`remote.${remote}.url`)) === undefined)
    throw new MlvError('REMOTE_MISSING', `git knows no remote "${remote}" to push ${branch} to`, {
      hint: `Add it with "git remote add ${remote} URL", or leave --push out.`,
    })
  const before = await writer.tip(branch)
  if (await writer.fetch(branch)) return
  if (before.own !== undefined && before.own === before.remote) await writer.remove(branch, before.own)
}

/** @returns whether anything was sent   @throws OBJECT_MISSING before the branch would name data that no remote has */
async function pushBranch(project: Project, writer: BranchWriter, { branch, commit }: CommittedImports): Promise<boolean> {
  const { own, remote } = await writer.tip(branch)
  if (commit === undefined || own === undefined || own === remote) return false
  // It was opened before the new versions were taken.
  await (await project.cache('read')).refresh()
  const [lost] = (await push(project, { revisions: [own] })).missing
  if (lost)
    throw new MlvError('OBJECT_MISSING', `${lost.path} is not whole in the cache, so ${branch} was not pushed`, {
      hint: 'Fetch the rest with "mlv fetch", then run the command again.',
    })
  await writer.push(branch)
  return true
}

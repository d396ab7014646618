import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { flushFolder, uniqueName, writeFileAtomic } from '../base/atomic.ts'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import { groupRuns } from '../base/process-group.ts'
import { isElsewhere, isOfEarlierBoot, isOwnerGone, type ProcessOwner, thisProcess } from '../base/process-state.ts'
import { loadIgnore } from '../workspace/ignore.ts'
import type { Project } from '../workspace/project.ts'
import { exists, movePath } from './move-path.ts'
import { returnHidden } from './return-hidden.ts'

/** Earlier outs of a stage that runs wait in `.git/mlv/aside/WORKTREE/STAGE/`: `0`, `1`, … and `manifest.json`, which says who runs it and
 *  which path each number is. The folder is also the claim: a stage runs once at a time. Removing the manifest is the success. */
interface Manifest extends ProcessOwner {
  /** ISO 8601 */
  since: string
  outs: { path: RepoPath /** something lay there before */; had: boolean }[]
}

export interface Aside {
  /** whether anything lay there before */
  readonly hadOuts: boolean
  /** Notes the process groups of the commands that run now: one, or those of a map stage's datums. No command begins before it is noted. */
  note(...groups: number[]): void
  /** The stage has succeeded: what lay there before is dropped. */
  drop(): void
  /** Moves what the stage has written to failed/STAGE and puts back what lay there before. @returns where it went, absolute; undefined when nothing was written */
  putBack(): string | undefined
  /** Moves what the stage has written to failed/STAGE, before it is tried again. */
  clear(): void
}

type Place = Pick<Project, 'root' | 'homeDir' | 'stateDir'>

const MANIFEST = 'manifest.json'

/** Holds the process groups of the stage's commands that run, one a line. */
const COMMAND = 'command'

function asideFolder(project: Place): string {
  return join(project.homeDir, 'aside', basename(project.stateDir))
}

function readManifest(folder: string): Manifest | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, MANIFEST), 'utf8')) as Manifest
  } catch (error) {
    if (error instanceof SyntaxError || systemCode(error) === 'ENOENT') return undefined
    throw fileError(error, 'reading', folder)
  }
}

function moveToFailed(project: Place, stage: string, paths: RepoPath[]): string | undefined {
  const written = paths.filter((path) => exists(join(project.root, path)))
  if (written.length === 0) return undefined
  const folder = join(project.homeDir, 'failed', stage)
  rmSync(folder, { recursive: true, force: true })
  for (const path of written) movePath(join(project.root, path), join(folder, path))
  return folder
}

function putBack(project: Place, stage: string, outs: Manifest['outs']): string | undefined {
  const folder = join(asideFolder(project), stage)
  // An out that was there and is not aside has not been moved: it is still the earlier one.
  const touched = outs.filter((out, index) => !out.had || exists(join(folder, String(index))))
  const failed = moveToFailed(
    project,
    stage,
    touched.map((out) => out.path),
  )
  for (const [index, out] of outs.entries())
    if (out.had && exists(join(folder, String(index)))) movePath(join(folder, String(index)), join(project.root, out.path))
  rmSync(folder, { recursive: true, force: true })
  return failed
}

/** The stages whose mlv was killed and whose earlier outs wait to be put back. Only reads. */
export function findAside(project: Place): string[] {
  return listAside(project).filter((name) => {
    const manifest = name.startsWith('.') ? undefined : readManifest(join(asideFolder(project), name))
    return manifest !== undefined && isOwnerGone(manifest)
  })
}

function listAside(project: Place): string[] {
  const folder = asideFolder(project)
  try {
    return readdirSync(folder)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw fileError(error, 'reading', folder)
  }
}

export interface Recovered {
  stage: string
  /** where what it had written went, absolute */
  failed: string | undefined
}

/** A killed mlv leaves its command running: what that still writes must not mix with the earlier outs. */
function refuseOrphan(folder: string, stage: string, owner: ProcessOwner): void {
  if (isOfEarlierBoot(owner)) return
  const path = join(folder, COMMAND)
  const groups = exists(path) ? readFileSync(path, 'utf8').split('\n').map(Number).filter(groupRuns) : []
  if (groups.length === 0) return
  const [names, words] = [groups.join(', '), groups.map((group) => `-${group}`).join(' ')]
  throw new MlvError(
    'LOCK_HELD',
    groups.length === 1
      ? `The command of stage "${stage}" still runs (process ${names}), though the mlv that started it is gone`
      : `${groups.length} commands of stage "${stage}" still run (processes ${names}), though the mlv that started them is gone`,
    {
      hint: `Wait for ${groups.length === 1 ? 'it to end, or end it' : 'them to end, or end them'} with "kill -- ${words}"; then run mlv again, which puts the earlier outs back.`,
    },
  )
}

/** Puts back the outs of stages whose mlv was killed. @throws LOCK_HELD when a command outlived it. @param force takes a claim of another machine for dead, too */
export function recoverAside(project: Place, force: boolean): Recovered[] {
  const folder = asideFolder(project)
  const recovered: Recovered[] = []
  for (const name of listAside(project)) {
    const manifest = readManifest(join(folder, name))
    if (name.startsWith('.')) {
      // A claim being made takes a moment; an old one was left by a process that died making it.
      const age = Date.now() - (lstatSync(join(folder, name), { throwIfNoEntry: false })?.mtimeMs ?? Date.now())
      if (age > 60_000) rmSync(join(folder, name), { recursive: true, force: true })
      continue
    }
    if (!manifest) {
      // The stage had succeeded: what is left is being dropped.
      rmSync(join(folder, name), { recursive: true, force: true })
      continue
    }
    if (isOwnerGone(manifest) || (force && isElsewhere(manifest))) {
      refuseOrphan(join(folder, name), name, manifest)
      recovered.push({ stage: name, failed: putBack(project, name, manifest.outs) })
    }
  }
  return recovered
}

function claim(folder: string, stage: string, manifest: Manifest, flush: boolean): void {
  const staged = join(dirname(folder), `.${stage}-${uniqueName()}`)
  const text = `${JSON.stringify(manifest)}\n`
  try {
    mkdirSync(staged, { recursive: true })
    if (flush) writeFileAtomic(join(staged, MANIFEST), text)
    else writeFileSync(join(staged, MANIFEST), text)
  } catch (error) {
    rmSync(staged, { recursive: true, force: true })
    throw fileError(error, 'writing', dirname(folder))
  }
  try {
    renameSync(staged, folder)
  } catch (error) {
    rmSync(staged, { recursive: true, force: true })
    if (!['ENOTEMPTY', 'EEXIST'].includes(systemCode(error) ?? '')) throw fileError(error, 'writing', folder)
    const owner = readManifest(folder)
    throw new MlvError(
      'LOCK_HELD',
      `Stage "${stage}" is being run by process ${owner?.pid ?? '?'} on ${owner?.host ?? 'this machine'} since ${owner?.since ?? 'a moment ago'}`,
      {
        hint:
          owner && isElsewhere(owner)
            ? `Wait for it to end; if that machine or container no longer runs it, "mlv repro --single-stage --force ${stage}".`
            : 'Wait for it to end.',
      },
    )
  }
}

/** Deletes what a stage had set aside: the manifest first. Names are few and known, and a removal that looks for them takes ten times as long. */
function dropFolder(folder: string, outs: readonly string[]): void {
  try {
    for (const name of [MANIFEST, COMMAND, ...outs]) dropName(join(folder, name))
    rmdirSync(folder)
  } catch (error) {
    // A command may have deleted all of .git/mlv; then nothing is left to be dropped.
    if (systemCode(error) !== 'ENOENT') rmSync(folder, { recursive: true, force: true })
  }
}

function dropName(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    if (!['EISDIR', 'EPERM'].includes(systemCode(error) ?? '')) throw error
    rmSync(path, { recursive: true, force: true })
  }
}

/** Claims a stage and moves its earlier outs out of the way; `persist` outs are not given here.
 *  @param saved paths whose bytes the cache has: a power loss costs nothing there, and nothing is flushed for them
 *  @throws LOCK_HELD when it is running elsewhere, FILE_UNWRITABLE */
export function setAside(project: Place, stage: string, paths: RepoPath[], saved: ReadonlySet<RepoPath> = new Set()): Aside {
  const folder = join(asideFolder(project), stage)
  const outs = paths.map((path) => ({ path, had: exists(join(project.root, path)) }))
  const folders = outs.flatMap(({ path, had }, index) =>
    had && lstatSync(join(project.root, path)).isDirectory()
      ? [{ path, from: join(folder, String(index)), ignore: loadIgnore(project.root, path) }]
      : [],
  )
  const flush = outs.some(({ path, had }) => had && !saved.has(path))
  claim(folder, stage, { ...thisProcess(), since: new Date().toISOString(), outs }, flush)
  const hadOuts = outs.some((out) => out.had)
  if (flush) flushFolder(dirname(folder))
  try {
    for (const [index, out] of outs.entries()) if (out.had) movePath(join(project.root, out.path), join(folder, String(index)))
  } catch (error) {
    putBack(project, stage, outs)
    throw error
  }
  return {
    hadOuts,
    note(...groups) {
      writeFileAtomic(join(folder, COMMAND), groups.join('\n'), { flush: false })
    },
    drop() {
      for (const { from, path, ignore } of folders)
        if (exists(from))
          returnHidden({ from, to: join(project.root, path), left: join(project.homeDir, 'failed', stage, path), ignore })
      dropFolder(
        folder,
        outs.flatMap(({ had }, index) => (had ? [String(index)] : [])),
      )
    },
    putBack: () => putBack(project, stage, outs),
    clear: () => {
      moveToFailed(project, stage, paths)
    },
  }
}

import { closeSync, lstatSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { MlvError } from '../base/errors.ts'
import { type Oid, oidOfFile } from '../base/oid.ts'
import { parentsOf, quotePath, type RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { TreeRoot } from '../store/tree.ts'
import { walkPart } from '../store/tree-walk.ts'
import { type Entry, sameEntry } from './entry.ts'
import { createHiddenFinder } from './hidden.ts'
import { placedEntry } from './placed.ts'
import { namedObject, scannedFiles, scannedFolders } from './scan.ts'
import type { Snapshot } from './snapshot.ts'
import { checkParents } from './tracked.ts'
import { insidePath, pageReader, type Worktree } from './worktree.ts'

export interface PlacedFile {
  /** below the tracked path; '' when it is a file itself */
  path: string
  entry: Entry & { kind: 'file' | 'exec' | 'link' }
  /** something lies there now and is replaced */
  replaces: boolean
}

/** What makes one path of the workspace hold an entry. Only reads were done to make it. */
export interface CheckoutPlan {
  path: RepoPath
  /** undefined: nothing is to lie there */
  target: Entry | undefined
  place: PlacedFile[]
  /** folders below the path that must be there, parents first, with their trees */
  folders: Map<string, TreeRoot | undefined>
  /** files that mlv put here and that no longer belong */
  remove: string[]
  /** folders that no longer belong, children first; only those left empty go */
  removeFolders: string[]
  /** files already right */
  kept: PlacedFile[]
  /** objects in no cache */
  missing: { path: RepoPath; oid: Oid; size: number; purged: boolean; condemned: boolean }[]
  /** files whose content no cache holds and that stand in the way */
  unsaved: RepoPath[]
  /** where there are such: they are just what mlv last placed at the path, or an old version of it, and the cache has lost that since */
  isOlder: boolean
  /** files that are neither in the target nor removed */
  extra: number
  /** what is in no cache may be lost */
  force: boolean
  /** the part of the path that was looked at; '' for the whole */
  part: string
  /** everything is as the target wants it already */
  upToDate: boolean
  snapshot: Snapshot
}

export interface PlanOptions {
  force?: boolean
  /** write also what is right already, with the link types set now */
  relink?: boolean
  /** limit to this part below the path; '' or undefined: all */
  part?: string
}

function within(path: string, part: string): boolean {
  return part === '' || path === part || path.startsWith(`${part}/`) || part.startsWith(`${path}/`)
}

/** Whether a file holds nothing but the beginning of an object: what a killed checkout leaves behind. */
async function isBeginning(absolute: string, size: number, entry: PlacedFile['entry'], store: ObjectStore): Promise<boolean> {
  if (size >= entry.size || !store.has(entry.oid)) return false
  if (size === 0) return true
  const here = Buffer.allocUnsafe(1 << 20)
  const fd = openSync(absolute, 'r')
  try {
    let at = 0
    for await (const piece of store.stream(entry.oid)) {
      for (let from = 0; from < piece.length; ) {
        const length = readSync(fd, here, 0, Math.min(here.length, piece.length - from), at)
        if (length === 0) return true
        if (here.compare(piece, from, from + length, 0, length) !== 0) return false
        from += length
        at += length
      }
    }
    return false
  } finally {
    closeSync(fd)
  }
}

/** Reads the tree of a pointer. @throws OBJECT_MISSING naming the path and `mlv pull` */
async function targetFiles(worktree: Worktree, path: RepoPath, target: Entry, store: ObjectStore, part: string) {
  const files = new Map<string, PlacedFile['entry']>()
  const folders = new Map<string, TreeRoot | undefined>()
  if (target.kind !== 'tree') files.set('', target)
  else
    try {
      for await (const { path: below, entry } of walkPart(target.oid, part, pageReader(store), target)) {
        if (entry.kind === 'tree') folders.set(below, entry)
        else files.set(below, entry)
      }
    } catch (error) {
      if (error instanceof MlvError && error.code === 'OBJECT_MISSING')
        throw new MlvError('OBJECT_MISSING', `The list of files of ${path} is not in the cache`, {
          hint: `Run "mlv pull ${quotePath(path)}".`,
          cause: error,
        })
      throw error
    }
  if (worktree.foldsCase()) refuseJoined(path, [...files.keys(), ...folders.keys()])
  return { files, folders }
}

/** @throws PATH_INVALID naming two names that this disk cannot tell apart */
function refuseJoined(path: RepoPath, names: string[]): void {
  const seen = new Map<string, string>()
  for (const name of names) {
    const folded = name.normalize('NFC').toLowerCase()
    const other = seen.get(folded)
    if (other !== undefined)
      throw new MlvError('PATH_INVALID', `${path} holds both "${other}" and "${name}", which this disk cannot tell apart`, {
        hint: 'Rename one of them on a disk that can, and push again.',
      })
    seen.set(folded, name)
  }
}

/** Compares what lies at `path` with `target` and decides what to write and delete. Nothing is changed.
 *  @throws OBJECT_MISSING when the tree's pages are in no cache, PATH_INVALID, TREE_INVALID */
export async function planCheckout(
  worktree: Worktree,
  path: RepoPath,
  target: Entry | undefined,
  options: PlanOptions = {},
): Promise<CheckoutPlan> {
  const { project } = worktree
  checkParents(project.root, path)
  const store = await project.cache('write')
  const { part = '' } = options
  const isPart = part !== '' && target?.kind === 'tree'
  const snapshot = await (isPart ? worktree.partSnapshot(path, part) : worktree.snapshot(path))
  const plan: CheckoutPlan = {
    path,
    target,
    place: [],
    folders: new Map(),
    remove: [],
    removeFolders: [],
    kept: [],
    missing: [],
    unsaved: [],
    isOlder: false,
    extra: 0,
    force: options.force ?? false,
    part,
    upToDate: false,
    snapshot,
  }
  // Equal roots: the rows have just said that every file is as the pointer wants it.
  if (target && !options.relink && snapshot.entry?.oid === target.oid && snapshot.entry.kind === target.kind)
    return { ...plan, upToDate: true }
  const wanted = target
    ? await targetFiles(worktree, path, target, store, part)
    : { files: new Map<string, PlacedFile['entry']>(), folders: new Map<string, TreeRoot | undefined>() }
  const here = new Map<string, { oid: Oid; kind: string; size: number }>()
  const { scan } = snapshot
  if (scan.kind === 'folder')
    for (const file of scannedFiles(scan.folder)) here.set(file.path, { oid: file.oid!, kind: file.kind, size: file.size })
  else if (scan.kind === 'file') here.set('', { oid: scan.file.oid!, kind: scan.file.kind, size: scan.file.size })

  const top = join(project.root, path)
  // What .mlvignore hides where a file belongs is work like any other.
  const findHidden = createHiddenFinder(top, scan)
  const hiddenWork: RepoPath[] = []
  const isSaved = (oid: Oid) => store.has(oid)
  // A link that mlv made to an object of the cache is nobody's work, though the cache has lost that object.
  const isNobodys = (now: { oid: Oid; kind: string }, full: string) =>
    isSaved(now.oid) || (now.kind === 'link' && namedObject(join(project.root, full), worktree.objects) !== undefined)
  for (const [below, entry] of wanted.files) {
    const now = here.get(below)
    if (now && now.oid === entry.oid && now.kind === entry.kind && !(options.relink && store.has(entry.oid))) {
      plan.kept.push({ path: below, entry, replaces: true })
      continue
    }
    const full = insidePath(path, below)
    if (!store.has(entry.oid)) {
      const [purged, condemned] = [store.isPurged(entry.oid), store.isCondemned(entry.oid)]
      plan.missing.push({ path: full, oid: entry.oid, size: entry.size, purged, condemned })
      continue
    }
    if (
      now &&
      !options.force &&
      !isNobodys(now, full) &&
      !(now.kind !== 'link' && (await isBeginning(join(project.root, full), now.size, entry, store)))
    )
      plan.unsaved.push(full)
    const hidden = now ? [] : findHidden(below)
    for (const item of hidden) {
      const mayGo = options.force || (item.kind === 'file' && isSaved(oidOfFile(join(top, item.path))))
      if (item.kind === 'folder') plan.removeFolders.unshift(item.path)
      else if (!mayGo) hiddenWork.push(insidePath(path, item.path))
      else if (item.path !== below) plan.remove.push(item.path)
    }
    plan.place.push({ path: below, entry, replaces: now !== undefined || hidden.length > 0 })
  }
  // A tree names each folder before what it holds.
  const { folders } = wanted
  plan.folders = folders
  const rows = scan.kind === 'folder' ? snapshot.table.rows : undefined
  for (const [below, now] of here) {
    if (wanted.files.has(below) || !within(below, part)) continue
    const row = below === '' ? snapshot.table.rows.get(path) : rows?.get(below)
    const inTheWay =
      below === '' ||
      folders.has(below) ||
      [...parentsOf(below)].some((above) => wanted.files.has(above)) ||
      target === undefined ||
      target.kind !== 'tree'
    if (isNobodys(now, insidePath(path, below)) && (row?.recorded || inTheWay || options.force)) plan.remove.push(below)
    else if (options.force) plan.remove.push(below)
    else if (inTheWay) plan.unsaved.push(insidePath(path, below))
    else plan.extra++
  }
  if (scan.kind === 'folder') {
    const gone: string[] = []
    for (const folder of scannedFolders(scan.folder)) {
      const makesRoom = wanted.files.has(folder.path) || [...parentsOf(folder.path)].some((above) => wanted.files.has(above))
      if (!folders.has(folder.path) && (folder.path !== '' || target?.kind !== 'tree') && (part === '' || makesRoom))
        gone.push(folder.path)
    }
    // Hidden folders lie in these.
    plan.removeFolders.push(...gone.reverse())
  }
  plan.isOlder =
    plan.unsaved.length > 0 &&
    hiddenWork.length === 0 &&
    snapshot.entry !== undefined &&
    sameEntry(await placedEntry(worktree, snapshot), snapshot.entry)
  plan.unsaved.push(...hiddenWork)
  // Looked at last, and again before each write: a link here would lead elsewhere.
  if (target?.kind === 'tree' && lstatSync(join(project.root, path), { throwIfNoEntry: false })?.isSymbolicLink())
    throw new MlvError('PATH_INVALID', `${path} is a symbolic link, where a folder belongs`, {
      hint: `Remove the link with "rm ${quotePath(path)}", then run "mlv checkout ${quotePath(path)}".`,
    })
  return plan
}

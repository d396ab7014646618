import { lstatSync, rmdirSync, rmSync, type Stats, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, hasCode, MlvError, systemCode } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { createLeftoverFinder } from '../base/leftover-names.ts'
import { type Oid, oidOfFile } from '../base/oid.ts'
import { quotePath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { createChangeCheck } from './change-check.ts'
import { type CheckedObjects, openCheckedObjects } from './checked-objects.ts'
import type { CheckoutPlan, PlacedFile } from './checkout-plan.ts'
import type { LinkType } from './config.ts'
import { chosenLinks, placeFile } from './link.ts'
import { scannedFiles } from './scan.ts'
import { forgetTrees, type StatTable, TICK_MS } from './stat-table.ts'
import { checkParents } from './tracked.ts'
import { refuseUnsaved } from './unsaved-work.ts'
import { insidePath, noteEntry, recordedEntry, type Worktree } from './worktree.ts'
import { makeFolder, placeLink, rowOf, writeSmall } from './write-file.ts'

export interface CheckedOut {
  placed: number
  removed: number
  bytes: number
}

/** Carries a plan out: deletes what no longer belongs, makes folders, writes files, notes rows.
 *  Files are not flushed; an interrupted checkout can be repeated.
 *  @throws WORK_UNSAVED before anything is changed; DISK_FULL, OBJECT_CORRUPT, FILE_CHANGED for what was written to since the plan was made */
export async function applyCheckout(
  worktree: Worktree,
  plan: CheckoutPlan,
  onBytes?: (count: number) => void,
): Promise<CheckedOut> {
  refuseUnsaved([plan], `"mlv checkout --force ${quotePath(plan.path)}"`)
  const { project } = worktree
  const { path, target } = plan
  const top = join(project.root, path)
  const result: CheckedOut = { placed: 0, removed: 0, bytes: 0 }
  const table = target?.kind === 'tree' ? worktree.cache.folder(path) : worktree.cache.files()
  const keyOf = (below: string) => (target?.kind === 'tree' ? below : path)
  const absolute = (below: string) => (below === '' ? top : `${top}/${below}`)
  // A plan carried out before may have put a link where this one saw a folder.
  checkParents(project.root, path)
  const checkUnchanged = createChangeCheck(worktree, plan)
  for (const below of plan.remove) {
    checkUnchanged(below, true)
    try {
      faultPoint('file: delete')
      unlinkSync(absolute(below))
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw fileError(error, 'deleting', insidePath(path, below))
    }
    if (plan.snapshot.scan.kind === 'folder') plan.snapshot.table.rows.delete(below)
    result.removed++
  }
  for (const below of plan.removeFolders) {
    try {
      faultPoint('folder: delete')
      rmdirSync(absolute(below))
      worktree.cache.folder(path).rows.delete(below)
    } catch (error) {
      if (systemCode(error) !== 'ENOTEMPTY' && systemCode(error) !== 'ENOENT' && systemCode(error) !== 'EEXIST')
        throw fileError(error, 'deleting', insidePath(path, below))
    }
  }
  if (target) makeParents(project.root, path)
  if (plan.upToDate) {
    noteTarget(worktree, plan, table)
    return result
  }
  if (target?.kind === 'tree') makeFolder(top, path)
  for (const below of plan.folders.keys()) makeFolder(absolute(below), insidePath(path, below))
  await placeFiles(worktree, plan, { table, keyOf, absolute, result, checkUnchanged, onBytes })

  for (const file of plan.kept) {
    const row = table.rows.get(keyOf(file.path))
    if (row && !row.recorded) table.rows.set(keyOf(file.path), { ...row, recorded: true })
  }
  noteTarget(worktree, plan, table)
  return result
}

function makeParents(root: string, path: string): void {
  const names = path.split('/').slice(0, -1)
  for (let i = 1; i <= names.length; i++) makeFolder(join(root, ...names.slice(0, i)), names.slice(0, i).join('/'))
}

interface Placing {
  table: StatTable
  keyOf: (below: string) => string
  absolute: (below: string) => string
  result: CheckedOut
  checkUnchanged: (below: string, wasHere: boolean) => void
  onBytes?: (count: number) => void
}

/** What a killed checkout had begun beside its files; the lock is ours, so no other one is at it now. */
function removeLeftovers(worktree: Worktree, plan: CheckoutPlan, absolute: (below: string) => string): void {
  const { scan } = plan.snapshot
  if (scan.kind === 'folder') for (const below of scan.leftovers) rmSync(absolute(below), { force: true })
  else if (plan.target?.kind !== 'tree') for (const path of finderOf(worktree)(absolute(''))) rmSync(path, { force: true })
}

const finders = new WeakMap<Worktree, ReturnType<typeof createLeftoverFinder>>()

function finderOf(worktree: Worktree): ReturnType<typeof createLeftoverFinder> {
  const finder = finders.get(worktree) ?? createLeftoverFinder()
  finders.set(worktree, finder)
  return finder
}

async function placeFiles(worktree: Worktree, plan: CheckoutPlan, placing: Placing): Promise<void> {
  const { project } = worktree
  const store = await project.cache('write')
  const { table, keyOf, absolute, result } = placing
  removeLeftovers(worktree, plan, absolute)
  const time = Date.now() / 1000 - (2 * TICK_MS) / 1000
  const packed = new Map<Oid, PlacedFile[]>()
  const whole: PlacedFile[] = []
  for (const file of plan.place) {
    const isLoose = file.entry.kind !== 'link' && !store.locate(file.entry.oid)
    if (isLoose) whole.push(file)
    else {
      const same = packed.get(file.entry.oid)
      if (same) same.push(file)
      else packed.set(file.entry.oid, [file])
    }
  }
  const done = (file: PlacedFile, stats: Stats) => {
    table.rows.set(keyOf(file.path), rowOf(file.entry, stats))
    result.placed++
    result.bytes += file.entry.size
    placing.onBytes?.(file.entry.size)
  }
  const write = (file: PlacedFile, bytes: Buffer) => {
    const to = absolute(file.path)
    if (bytes.length !== file.entry.size) throw wrongSize(plan, file, bytes.length)
    placing.checkUnchanged(file.path, file.replaces)
    try {
      if (file.entry.kind === 'link') done(file, placeLink(to, bytes, file.replaces))
      else done(file, writeSmall(to, bytes, { mode: file.entry.kind === 'exec' ? 0o777 : 0o666, replaces: file.replaces, time }))
    } catch (error) {
      throw fileError(error, 'writing', insidePath(plan.path, file.path))
    }
  }
  await readPacked(store, packed, write, project.surroundings.signal)
  if (whole.length === 0) return
  const types = chosenLinks(project)
  const checked = openCheckedObjects(project)
  try {
    for (const file of whole) {
      project.surroundings.signal?.throwIfAborted()
      placing.checkUnchanged(file.path, file.replaces)
      done(file, await placeWhole(store, plan, file, { to: absolute(file.path), types, checked }))
    }
  } finally {
    checked.flush((oid) => store.loose!.has(oid))
  }
}

/** Reads packed objects in the order they lie in; a corrupt one is set aside, so that the next pull fetches it again. */
async function readPacked(
  store: ObjectStore,
  packed: Map<Oid, PlacedFile[]>,
  write: (file: PlacedFile, bytes: Buffer) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await store.readEach(
      packed.keys(),
      (oid, bytes) => {
        for (const file of packed.get(oid)!) write(file, bytes)
      },
      { concurrency: 2, signal },
    )
  } catch (error) {
    if (hasCode(error, 'OBJECT_CORRUPT')) await setCorruptAside(store, packed.keys(), error)
    throw error
  }
}

async function setCorruptAside(store: ObjectStore, oids: Iterable<Oid>, error: MlvError): Promise<void> {
  for (const oid of oids) if (error.message.includes(oid)) await store.setAside(oid)
}

function wrongSize(plan: CheckoutPlan, file: PlacedFile, bytes: number): MlvError {
  const shown = insidePath(plan.path, file.path)
  const what = `${file.entry.size} bytes, and its object has ${bytes}`
  return file.path === ''
    ? new MlvError('POINTER_INVALID', `The pointer of ${shown} says ${what}`, {
        hint: `Restore it with "git checkout -- ${quotePath(`${shown}.mlv`)}".`,
      })
    : new MlvError('TREE_INVALID', `The tree of ${plan.path} says that ${shown} has ${what}`, {
        hint: 'It was made by a broken or hostile program; restore the pointer from an earlier commit.',
      })
}

/** Clones, links or copies a whole object. One that was altered since it was stored is set aside and refused. */
async function placeWhole(
  store: ObjectStore,
  plan: CheckoutPlan,
  file: PlacedFile,
  placing: { to: string; types: LinkType[]; checked: CheckedObjects },
): Promise<Stats> {
  const { to, types } = placing
  const { oid } = file.entry
  const loose = store.loose!
  const from = loose.path(oid)
  const size = loose.size(oid)
  const isShared = loose.isShared(oid)
  const isWhole = size === file.entry.size ? isShared || loose.check(oid) : size !== undefined && oidOfFile(from) === oid
  if (isWhole && size !== file.entry.size) throw wrongSize(plan, file, size!)
  if (!isWhole) {
    if (size !== undefined) loose.setAside(oid)
    const what = size === undefined ? 'is gone' : 'was altered and no longer hashes to its name'
    throw new MlvError('OBJECT_CORRUPT', `The object ${oid} in the cache ${what}`, { hint: 'Run "mlv pull" to fetch it again.' })
  }
  const umask = process.umask()
  const mode = (file.entry.kind === 'exec' ? 0o777 : 0o666) & ~umask
  try {
    const verify = isShared ? { oid, checked: placing.checked } : undefined
    await placeFile(from, to, { types, mode, verify, spare: loose.takeSpare(oid) })
  } catch (error) {
    if (hasCode(error, 'OBJECT_CORRUPT')) loose.setAside(oid)
    throw error
  }
  return lstatSync(to)
}

/** After a checkout the target is what mlv last placed here, and the rows of what is gone are forgotten. */
function noteTarget(worktree: Worktree, plan: CheckoutPlan, table: StatTable): void {
  const { path, target } = plan
  // A file that could not be placed, where nothing ever was, is still absent: recorded, it would pass for deleted by the user.
  if (target && target.kind !== 'tree' && plan.missing.length > 0 && !recordedEntry(worktree.cache, path)) return
  noteEntry(worktree.cache, path, target)
  table.dirty = true
  if (target?.kind !== 'tree') return
  if (plan.upToDate) {
    for (const [below, row] of table.rows) if (!row.recorded) table.rows.set(below, { ...row, recorded: true })
    return
  }
  if (plan.part !== '' && plan.place.length + plan.remove.length + plan.removeFolders.length === 0) return
  forgetTrees(table, plan.part)
  if (plan.part !== '') return
  forgetOthers(plan, table)
  if (plan.missing.length > 0 || plan.extra > 0) return
  // Now the rows say all there is: the next look at the folder reads nothing.
  noteFolders(table, plan.folders)
  table.computed = target
}

/** Notes what tree each folder is once all in it is placed. */
export function noteFolders(table: StatTable, folders: CheckoutPlan['folders']): void {
  for (const [below, tree] of folders)
    if (tree)
      table.rows.set(below, {
        kind: 'tree',
        ...tree,
        mtime: 0,
        ctime: 0,
        inode: 0,
        recorded: true,
        racy: false,
        unsettled: false,
      })
}

/** Rows of files that are neither here nor in the target any more. */
function forgetOthers(plan: CheckoutPlan, table: StatTable): void {
  const wanted = new Set([...plan.place, ...plan.kept].map((file) => file.path))
  const { scan } = plan.snapshot
  if (scan.kind === 'folder') for (const file of scannedFiles(scan.folder)) wanted.add(file.path)
  for (const below of plan.remove) wanted.delete(below)
  for (const below of table.rows.keys()) if (!wanted.has(below)) table.rows.delete(below)
}

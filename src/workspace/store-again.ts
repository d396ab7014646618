import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, readlinkSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from '../base/errors.ts'
import { type Oid, oidOfBytes, oidOfFile } from '../base/oid.ts'
import type { RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { StoreWriter } from '../store/store-writer.ts'
import { findFiles } from './concerns.ts'
import type { Project } from './project.ts'
import type { SelectedTarget } from './selection.ts'
import { checkParents } from './tracked.ts'
import { openWorktree } from './worktree.ts'

/** Objects of this many bytes and more are copied in as files. */
const LARGE_BYTES = 1 << 20

/** Stores lost objects again from files of the workspace that still hold them.
 *  @param pages stores to read tree pages from   @returns the objects that the cache has now */
export async function storeFromWorkspace(
  project: Project,
  cache: ObjectStore,
  targets: readonly SelectedTarget[],
  { lost, pages }: { lost: ReadonlySet<Oid>; pages: readonly ObjectStore[] },
): Promise<Oid[]> {
  const writer = cache.writer({ signal: project.surroundings.signal })
  const stored = new Set<Oid>()
  const needs = (oid: Oid) => lost.has(oid) && !stored.has(oid)
  const seen = new Set<string>()
  for (const target of targets) {
    const key = `${target.path} ${target.entry.oid}`
    if (seen.has(key)) continue
    seen.add(key)
    const { files, lostPages } = await findFiles(target, lost, pages)
    for (const { path, oid } of files) if (needs(oid) && (await storeFile(project, cache, writer, path, oid))) stored.add(oid)
    if (lostPages > 0) for (const oid of await storePages(project, target.path, writer, needs)) stored.add(oid)
  }
  cache.loose?.flush()
  await writer.finish()
  return [...stored]
}

/** @returns whether the file holds the object, which then is in the cache once the writer has finished */
async function storeFile(project: Project, cache: ObjectStore, writer: StoreWriter, path: RepoPath, oid: Oid): Promise<boolean> {
  const full = join(project.root, path)
  const stats = lstatSync(full, { throwIfNoEntry: false })
  if (!stats) return false
  checkParents(project.root, path)
  if (stats.isSymbolicLink()) {
    const text = readlinkSync(full, 'buffer')
    if (oidOfBytes(text) !== oid) return false
    await writer.add(oid, text)
    return true
  }
  if (!stats.isFile()) return false
  if (stats.size < LARGE_BYTES || !cache.loose) {
    const bytes = readSmall(full)
    if (!bytes || oidOfBytes(bytes) !== oid) return false
    await writer.add(oid, bytes)
    return true
  }
  if (oidOfFile(full) !== oid) return false
  const source = await open(full, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    return (await cache.loose.storeFile(source, { signal: project.surroundings.signal })).oid === oid
  } finally {
    await source.close()
  }
}

function readSmall(full: string): Buffer | undefined {
  let fd: number
  try {
    fd = openSync(full, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (['ENOENT', 'ELOOP', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) return undefined
    throw error
  }
  try {
    return fstatSync(fd).isFile() ? readFileSync(fd) : undefined
  } finally {
    closeSync(fd)
  }
}

/** Makes the pages of a folder again from what lies there, by the rows of files that did not change. */
async function storePages(project: Project, path: RepoPath, writer: StoreWriter, needs: (oid: Oid) => boolean): Promise<Oid[]> {
  const worktree = openWorktree(project, 'read')
  const table = worktree.cache.folder(path)
  // Without them every page is made again. The table is not written back.
  for (const [below, row] of table.rows) if (row.kind === 'tree') table.rows.delete(below)
  table.computed = undefined
  const { pages } = await worktree.snapshot(path, { keepPages: true })
  const made: Oid[] = []
  for (const [oid, bytes] of pages ?? []) {
    if (!needs(oid)) continue
    await writer.add(oid, bytes)
    made.push(oid)
  }
  return made
}

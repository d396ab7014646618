import { type FileHandle, open } from 'node:fs/promises'
import { systemCode } from '../base/errors.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import type { Nearby, ObjectStore, ReadOptions } from './object-store.ts'
import type { Chunk } from './recipe.ts'

/** A file of this machine that holds, or held, an object. */
export interface Version {
  oid: Oid
  /** absolute */
  path: string
}

export interface OpenNearby extends Nearby {
  /** bytes that files here have given */
  bytesRead(): number
  close(): Promise<void>
}

interface Place {
  path: string
  offset: number
  length: number
}

/** Recipes of other versions are read up to this part of the bytes that they may spare (one recipe is about 0.006 % of its file). */
const RECIPES_SHARE = 0.002

/** Finds out which chunks of a large object lie in files of other versions: `from` says of what chunks those are made. The nearest in size are asked first.
 *  @returns undefined when there are none; closing it gives its file handles back */
export async function findNearby(
  from: ObjectStore,
  chunks: readonly Chunk[],
  versions: readonly Version[],
  options: ReadOptions,
): Promise<OpenNearby | undefined> {
  const size = chunks.reduce((sum, { length }) => sum + length, 0)
  const needed = new Set(chunks.map(({ oid }) => oid))
  const places = new Map<Oid, Place>()
  let budget = size * RECIPES_SHARE
  for (const { version, length } of nearest(from, size, versions)) {
    if (places.size === needed.size || length > budget) break
    budget -= length
    let offset = 0
    for (const chunk of (await readRecipe(from, version.oid, options)) ?? []) {
      if (needed.has(chunk.oid) && !places.has(chunk.oid))
        places.set(chunk.oid, { path: version.path, offset, length: chunk.length })
      offset += chunk.length
    }
  }
  return places.size === 0 ? undefined : openNearby(places)
}

/** The chunks of an object that is stored as such; undefined for any other. */
export async function readRecipe(from: ObjectStore, oid: Oid, options: ReadOptions): Promise<readonly Chunk[] | undefined> {
  let found: readonly Chunk[] | undefined
  const keep = (_oid: Oid, chunks: readonly Chunk[] | undefined) => {
    found = chunks
  }
  await from.readRecipes([oid], keep, options)
  return found
}

/** Versions that the store knows as chunks, those of nearly this size first. */
function nearest(from: ObjectStore, size: number, versions: readonly Version[]): { version: Version; length: number }[] {
  const known: { version: Version; length: number; distance: number }[] = []
  for (const version of versions) {
    const found = from.locate(version.oid)
    if (found?.type === 'recipe') known.push({ version, length: found.length, distance: Math.abs(found.size - size) })
  }
  return known.sort((a, b) => a.distance - b.distance)
}

function openNearby(places: Map<Oid, Place>): OpenNearby {
  let read = 0
  const files = new Map<string, Promise<FileHandle | undefined>>()
  function openFile(path: string): Promise<FileHandle | undefined> {
    const opened = files.get(path) ?? open(path).catch(passGone)
    files.set(path, opened)
    return opened
  }
  return {
    has: (oid) => places.has(oid),
    bytesRead: () => read,
    async read(oid) {
      const { path, offset, length } = places.get(oid)!
      const bytes = Buffer.allocUnsafe(length)
      const file = await openFile(path)
      const result = await file?.read(bytes, 0, length, offset).catch(passGone)
      if (result?.bytesRead !== length || oidOfBytes(bytes) !== oid) {
        places.delete(oid)
        return undefined
      }
      read += length
      return bytes
    },
    async close() {
      for (const file of await Promise.all(files.values())) await file?.close()
    },
  }
}

/** A file that is gone or unreadable spares nothing, and the remote has it all. */
function passGone(error: unknown): undefined {
  if (systemCode(error) === undefined) throw error
  return undefined
}

import { randomUUID } from 'node:crypto'
import { MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import { CHUNKING } from './chunker.ts'
import { FOREIGN } from './foreign.ts'

/** Keys of a store, the same in a folder and in a bucket. */
export const KEYS = {
  description: 'mlv.json',
  pack: (oid: Oid) => `packs/${oid.slice(0, 2)}/${oid}`,
  /** The suffix tells from the listing alone which indexes only readers of chunked files need. */
  index: (oid: Oid, chunks = false) => `index/${oid}${chunks ? '-chunks' : ''}`,
  /** Names the index that repeats one which was deleted. */
  superseded: (oid: Oid, chunks = false) => `superseded/${oid}${chunks ? '-chunks' : ''}`,
  object: (oid: Oid) => `objects/${oid.slice(0, 2)}/${oid}`,
  condemned: 'condemned/',
  purged: 'purged/',
  /** Run records of a key; those of a named scope lie below its name, so that a bucket's policy can tell who may write them. */
  runs: (key: Oid, scope?: string) => `runs/${scope === undefined ? '' : `${scope}/`}${key.slice(0, 2)}/${key}/`,
  projects: 'projects/',
  /** written to ask the place what time it is */
  clock: 'clock',
  /** a record of what is wrong in a pack */
  corrupt: (pack: Oid) => `corrupt/${pack}`,
} as const

export const PACK_BYTES = 32 << 20
/** The largest object, 5 TiB: what S3 takes at most, and what a recipe can list. */
export const MAX_OBJECT_BYTES = 5 * 2 ** 40

/** @param what names the file or object, with a capital letter   @param bytes its size */
export function tooLarge(what: string, bytes: number): MlvError {
  return new MlvError(
    'OBJECT_TOO_LARGE',
    `${what} has ${(bytes / 2 ** 40).toFixed(1)} TiB, and mlv keeps files of at most 5 TiB`,
    {
      hint: 'Split it into several files, for instance with "split -b 1T".',
    },
  )
}

/** Files of this size and more travel as chunks. */
export const CHUNK_FROM = 16 << 20
export const FORMAT = 1

/** What mlv.json says of a store. */
export interface StoreDescription {
  format: number
  id: string
  /** features a reader must know */
  read_requires: string[]
  /** features a writer or collector must know */
  write_requires: string[]
  /** which kinds of records (`condemned`, `purged`, `corrupt`) have ever been written here; others need no listing */
  records: string[]
  chunking: typeof CHUNKING
}

/** Features this program knows. Adding one makes older programs refuse stores that require it. */
const KNOWN: readonly string[] = [FOREIGN]

/** Whether this program may write to a store. */
export function isWritable({ write_requires }: StoreDescription): boolean {
  return write_requires.every((feature) => KNOWN.includes(feature))
}

export function newDescription(): StoreDescription {
  return { format: FORMAT, id: randomUUID(), read_requires: [], write_requires: [], records: [], chunking: CHUNKING }
}

export function formatDescription(description: StoreDescription): string {
  return `${JSON.stringify(description, null, 2)}\n`
}

/** @throws STORE_INVALID, STORE_TOO_NEW */
export function parseDescription(bytes: Uint8Array, url: string, purpose: 'read' | 'write'): StoreDescription {
  let value: Partial<StoreDescription>
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8')) as Partial<StoreDescription>
  } catch (cause) {
    throw new MlvError('STORE_INVALID', `${url}/mlv.json is not JSON`, {
      hint: 'Is this the place of an mlv store? Check the URL with "mlv remote list".',
      cause,
    })
  }
  const list = (item: unknown) => Array.isArray(item) && item.every((feature) => typeof feature === 'string')
  if (
    typeof value !== 'object' ||
    value === null ||
    !Number.isInteger(value.format) ||
    typeof value.id !== 'string' ||
    !/^[\w-]{1,64}$/.test(value.id)
  )
    throw new MlvError('STORE_INVALID', `${url}/mlv.json does not describe a store`, {
      hint: 'Check the URL with "mlv remote list".',
    })
  if (!list(value.read_requires) || !list(value.write_requires))
    throw new MlvError('STORE_INVALID', `${url}/mlv.json lacks read_requires or write_requires`, {
      hint: 'Check the URL with "mlv remote list".',
    })
  const needed = purpose === 'write' ? [...value.read_requires!, ...value.write_requires!] : value.read_requires!
  const unknown = needed.filter((feature) => !KNOWN.includes(feature))
  if (value.format! > FORMAT || unknown.length > 0)
    throw new MlvError(
      'STORE_TOO_NEW',
      `The store at ${url} needs a newer mlv (${unknown.length > 0 ? unknown.join(', ') : `format ${value.format}`})`,
      {
        hint: 'Update mlv, then run the command again.',
      },
    )
  return { ...(value as StoreDescription), records: list(value.records) ? value.records! : [] }
}

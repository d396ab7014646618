import type { Blobs } from '../store/blobs.ts'
import type { ForeignPlace, ForeignReader } from '../store/foreign.ts'
import { streamBlob } from '../store/stream-blob.ts'
import type { Project } from './project.ts'

/** Reads objects that stay in buckets of their own, with this user's settings for those buckets. Each bucket is opened once. */
export function createForeignReader(project: Project): ForeignReader & { close(): Promise<void> } {
  const open = new Map<string, Promise<Blobs>>()
  function bucketOf({ bucket, endpoint, region, path_style }: ForeignPlace): Promise<Blobs> {
    const key = JSON.stringify([bucket, endpoint, region, path_style])
    const known = open.get(key)
    if (known) return known
    const source = { url: `s3://${bucket}`, endpoint, region, path_style }
    const opened = import('./open-source.ts').then(({ openBucket }) => openBucket(project, source, bucket, ''))
    open.set(key, opened)
    return opened
  }
  async function* read(place: ForeignPlace, signal?: AbortSignal): AsyncGenerator<Buffer> {
    const { key, size, version, etag } = place
    yield* streamBlob(await bucketOf(place), { key, size, version, etag }, signal)
  }
  const close = async () => {
    for (const blobs of open.values()) (await blobs.catch(() => undefined))?.close?.()
  }
  return Object.assign(read, { close })
}

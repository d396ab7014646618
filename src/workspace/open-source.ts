import { createHash } from 'node:crypto'
import { MlvError } from '../base/errors.ts'
import { nameProblem } from '../base/paths.ts'
import type { BlobInfo, Blobs } from '../store/blobs.ts'
import { streamBlob } from '../store/stream-blob.ts'
import { openBlobs } from '../transport/open-blobs.ts'
import { parsePlace } from '../transport/place.ts'
import type { RemoteConfig } from './config.ts'
import { withCredentials } from './open-project.ts'
import type { Project } from './project.ts'
import type { UrlSource } from './source.ts'

/** One file of a bucket or web server. */
export interface SourceFile {
  /** below what the url names; '' for that itself */
  path: string
  /** bytes, as the server says */
  size: number | undefined
  /** of a bucket: its key there, and what was said of it */
  blob?: { blobs: Blobs; key: string; info: BlobInfo }
  read(): AsyncIterable<Buffer>
}

/** What a url names, looked at but not yet read. */
export interface OpenedSource {
  kind: 'file' | 'folder'
  files: SourceFile[]
  /** how a pointer pins it */
  pin: Pick<UrlSource, 'etag' | 'modified' | 'version' | 'listing'>
  close(): void
}

/** The settings of a bucket: those the source names, else those of a remote in the same bucket. */
export function bucketSettings(project: Project, source: UrlSource, bucket: string): RemoteConfig {
  const { config, root, surroundings } = project
  const { endpoint, region, profile, path_style, url } = source
  const own = Object.fromEntries(
    Object.entries({ endpoint, region, profile, path_style }).filter(([, value]) => value !== undefined),
  )
  for (const name of config.remotes()) {
    const remote = config.remote(name)!
    const place = parsePlace(remote.url, { root, env: surroundings.env })
    const isThere = place.kind === 's3' && place.bucket === bucket && (endpoint === undefined || endpoint === remote.endpoint)
    if (isThere) return { ...remote, ...own, url }
  }
  return { ...own, url }
}

/** Opens the bucket of an s3:// url with the settings above. */
export async function openBucket(project: Project, source: UrlSource, bucket: string, prefix: string): Promise<Blobs> {
  const settings = bucketSettings(project, source, bucket)
  const { root, surroundings } = project
  const { env, signal } = surroundings
  return openBlobs({ ...settings, url: `s3://${bucket}/${prefix}` }, { root, env: withCredentials(env, settings), signal })
}

/** Says which key cannot be a file's path here, before anything is read. @throws PATH_INVALID */
function checkKeys(blobs: readonly BlobInfo[], url: string): void {
  const refuse = (key: string, what: string) =>
    new MlvError('PATH_INVALID', `${url}/${key} has ${what}`, { hint: 'Import a prefix below or beside it, or rename it there.' })
  const files = new Set(blobs.map(({ key }) => key))
  for (const { key } of blobs) {
    const names = key.split('/')
    for (const name of names) {
      const problem = nameProblem(name)
      if (problem) throw refuse(key, problem)
    }
    for (let depth = 1; depth < names.length; depth++)
      if (files.has(names.slice(0, depth).join('/')))
        throw refuse(key, `a file's name, ${names.slice(0, depth).join('/')}, for a folder`)
  }
}

/** One value for a listing: another one when any file came, went or changed. */
function digestOf(blobs: readonly BlobInfo[]): string {
  const hash = createHash('sha256')
  for (const { key, size, etag, modified } of blobs) hash.update(`${key}\0${size}\0${etag ?? modified}\n`)
  return hash.digest('hex')
}

async function openBucketSource(
  project: Project,
  source: UrlSource,
  place: { bucket: string; prefix: string },
): Promise<OpenedSource> {
  const { signal } = project.surroundings
  const { bucket, prefix } = place
  const cut = prefix.lastIndexOf('/')
  const above = await openBucket(project, source, bucket, prefix.slice(0, Math.max(0, cut)))
  const fileOf = (blobs: Blobs, blob: BlobInfo, path: string): SourceFile => ({
    path,
    size: blob.size,
    blob: { blobs, key: blob.key, info: blob },
    read: () => streamBlob(blobs, blob, signal),
  })
  if (prefix !== '' && !source.url.endsWith('/')) {
    const blob = await above.head(prefix.slice(cut + 1), signal)
    if (blob) {
      const { etag, version } = blob
      return {
        kind: 'file',
        files: [fileOf(above, blob, '')],
        pin: { etag, version },
        close: () => above.close?.(),
      }
    }
  }
  above.close?.()
  const blobs = await openBucket(project, source, bucket, prefix)
  const found: BlobInfo[] = []
  for await (const blob of blobs.list('', signal)) found.push(blob)
  if (found.length === 0)
    throw new MlvError('PATH_MISSING', `There is nothing at ${source.url}`, {
      hint: 'Check the bucket and prefix; if they have moved, import the data from its new place.',
    })
  checkKeys(found, blobs.url)
  const files = found.map((blob) => fileOf(blobs, blob, blob.key))
  return { kind: 'folder', files, pin: { listing: digestOf(found) }, close: () => blobs.close?.() }
}

async function openWebSource(project: Project, source: UrlSource): Promise<OpenedSource> {
  if (source.in_place)
    throw new MlvError('USAGE', `${source.url} cannot be imported in place`, {
      hint: 'Only s3://BUCKET/PREFIX can; leave --in-place out.',
    })
  const { askVersion, openDownload } = await import('../transport/http-download.ts')
  const { signal } = project.surroundings
  const version = await askVersion(source.url, signal)
  const pin: OpenedSource['pin'] = { etag: version?.etag, modified: version?.etag === undefined ? version?.modified : undefined }
  async function* read(): AsyncGenerator<Buffer> {
    const download = await openDownload(source.url, signal)
    // What is read is what the pointer pins.
    pin.etag = download.etag
    pin.modified = download.etag === undefined ? download.modified : undefined
    yield* download.pieces
  }
  return { kind: 'file', files: [{ path: '', size: version?.size, read }], pin, close() {} }
}

/** Looks at what a url names. @throws CONFIG_INVALID, SECRET_REFUSED (not repeating the secret), PATH_MISSING, PATH_INVALID, and what the place throws */
export async function openUrlSource(project: Project, source: UrlSource): Promise<OpenedSource> {
  const { root, surroundings } = project
  const place = parsePlace(source.url, { root, env: surroundings.env })
  switch (place.kind) {
    case 's3':
      return openBucketSource(project, source, place)
    case 'http':
      return openWebSource(project, source)
    case 'folder':
      // A pointer from elsewhere could name any file of this machine.
      throw new MlvError('USAGE', `${source.url} is a folder or file of this machine`, {
        hint: 'Copy it into the project and run "mlv add", or give s3://BUCKET/PREFIX or https://….',
      })
  }
}

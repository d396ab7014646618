import { existsSync } from 'node:fs'
import { isAbsolute, join, posix } from 'node:path'
import { hasCode } from '../base/errors.ts'
import { parseRepository } from '../git/repository-name.ts'
import { parsePlace } from '../transport/place.ts'
import type { Source, UrlSource } from '../workspace/source.ts'
import type { DvcRemote } from './dvc-config.ts'

type Raw = Record<string, unknown>

/** What the names in an import's dep mean. */
export interface DvcSourceContext {
  /** the folder of the .dvc file, relative to the project; '' for its root */
  folder: string
  /** remotes that `remote://NAME/…` may name */
  remotes: readonly DvcRemote[]
  root: string
}

const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined)

/** Where an import came from, in mlv's words, pinned as far as DVC's file says. @returns undefined for what mlv cannot follow */
export function sourceOf(dep: Raw, context: DvcSourceContext): Source | undefined {
  try {
    return typeof dep.repo === 'object' && dep.repo !== null
      ? repositorySource(dep, dep.repo as Raw, context)
      : urlSource(dep, context)
  } catch (error) {
    // What mlv would not read must not stand in a pointer.
    if (hasCode(error, 'PATH_INVALID', 'SECRET_REFUSED', 'CONFIG_INVALID')) return undefined
    throw error
  }
}

function repositorySource(dep: Raw, repo: Raw, { folder, root }: DvcSourceContext): Source | undefined {
  const [url, path, commit] = [text(repo.url), text(dep.path), text(repo.rev_lock)]
  if (url === undefined || path === undefined || commit === undefined || isAbsolute(path)) return undefined
  const place = parseRepository(url, root)
  const kept = place.kind === 'url' || isAbsolute(url) ? url : findFolder(url, folder, root)
  if (kept === undefined) return undefined
  return { repo: kept, path, rev: text(repo.rev), commit }
}

/** DVC writes a relative folder as it was typed, wherever that was; here it starts at the project's root.
 *  @returns undefined where no such folder is there */
function findFolder(typed: string, folder: string, root: string): string | undefined {
  const from = [folder, ''].find((base) => existsSync(join(root, base, typed)))
  return from === undefined ? undefined : posix.normalize(posix.join(from === '' ? '.' : from, typed))
}

/** Of a bucket DVC keeps the ETag without its quotes, of a web server as it stands, among other checksums. */
function etagOf(dep: Raw): string | undefined {
  const quoted = /^(W\/)?".*"$/
  const etag = text(dep.etag)
  if (etag !== undefined) return quoted.test(etag) ? etag : `"${etag}"`
  const checksum = text(dep.checksum)
  return checksum !== undefined && quoted.test(checksum) ? checksum : undefined
}

function urlSource(dep: Raw, { remotes, root }: DvcSourceContext): Source | undefined {
  const typed = text(dep.path)
  const named = /^remote:\/\/([^/]+)\/(.*)$/s.exec(typed ?? '')
  const remote = named ? remotes.find(({ name }) => name === named[1]) : undefined
  const url = named ? remote && `${remote.settings.url.replace(/\/+$/, '')}/${named[2]}` : typed
  if (url === undefined) return undefined
  const place = parsePlace(url, { root, env: {} })
  if (place.kind === 'folder') return undefined
  const isFolder = /\.dir$/.test(text(dep.md5) ?? text(dep.etag) ?? text(dep.checksum) ?? '') || typeof dep.nfiles === 'number'
  const source: UrlSource = { url: isFolder && !url.endsWith('/') ? `${url}/` : url }
  if (!isFolder) source.etag = etagOf(dep)
  if (!isFolder) source.version = text(dep.version_id)
  if (place.kind === 's3' && remote) {
    const { endpoint, region, profile } = remote.settings
    Object.assign(source, { endpoint, region, profile })
  }
  return source
}

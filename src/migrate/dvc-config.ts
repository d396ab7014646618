import { readFileSync } from 'node:fs'
import { isAbsolute, join, resolve } from 'node:path'
import { fileError, hasCode, MlvError, systemCode } from '../base/errors.ts'
import type { PlaceSettings } from '../transport/open-blobs.ts'
import { parsePlace } from '../transport/place.ts'
import type { Leftover } from './dvc-out.ts'

/** A remote of DVC that mlv can read. */
export interface DvcRemote {
  name: string
  settings: PlaceSettings & { access_key_id?: string; secret_access_key?: string; session_token?: string }
}

export interface DvcConfig {
  /** absolute folder of DVC's cache */
  cacheDir: string
  /** the default one first */
  remotes: DvcRemote[]
  leftovers: Leftover[]
}

/** Where DVC's settings lie. */
export interface DvcPlace {
  /** absolute folder that holds .dvc */
  root: string
  /** for the home folder that `~/` means */
  env: Record<string, string | undefined>
}

type Sections = Map<string, Map<string, string>>

/** Reads one file of settings in the form that Python's configobj writes. @throws DVC_INVALID with the line */
function parseSections(text: string, path: string, into: Sections): void {
  let section: Map<string, string> | undefined
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#') || line.startsWith(';')) continue
    const header = /^\[\s*(.*?)\s*\]$/.exec(line)?.[1]
    if (header !== undefined) {
      const name = header.replace(/^(['"])(.*)\1$/, '$2')
      section = into.get(name) ?? new Map()
      into.set(name, section)
      continue
    }
    const pair = /^([^=]+?)\s*=\s*(.*)$/.exec(line)
    if (!pair || !section)
      throw new MlvError('DVC_INVALID', `${path}:${index + 1}:1: neither a section nor a setting`, {
        hint: `Correct it, or see "dvc config --list".`,
      })
    section.set(pair[1]!, pair[2]!.replace(/^(['"])(.*)\1$/, '$2'))
  }
}

function readSections(root: string): Sections {
  const sections: Sections = new Map()
  for (const name of ['config', 'config.local']) {
    const path = join(root, '.dvc', name)
    try {
      parseSections(readFileSync(path, 'utf8'), `.dvc/${name}`, sections)
    } catch (error) {
      if (systemCode(error) === 'ENOENT') continue
      throw fileError(error, 'reading', path)
    }
  }
  return sections
}

/** Relative folders are relative to the file that names them, in .dvc. */
function folderOf({ root, env }: DvcPlace, text: string): string {
  const path = text.replace(/^file:\/\//, '')
  if (path.startsWith('~/') && env.HOME) return join(env.HOME, path.slice(2))
  return isAbsolute(path) ? path : resolve(root, '.dvc', path)
}

/** Settings of a remote that say how it is reached, by mlv's names. */
const SETTINGS: Record<string, keyof DvcRemote['settings']> = {
  endpointurl: 'endpoint',
  region: 'region',
  profile: 'profile',
  access_key_id: 'access_key_id',
  secret_access_key: 'secret_access_key',
  session_token: 'session_token',
}

function readRemote(place: DvcPlace, name: string, values: Map<string, string>): DvcRemote | Leftover {
  const url = values.get('url') ?? ''
  const at = `remote "${name}"`
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase() ?? 'file'
  if (values.get('version_aware') === 'true' || values.get('worktree') === 'true')
    return { at, what: 'keeps files under their own names with versions, which mlv does not read' }
  if (scheme === 'file') return { name, settings: { url: folderOf(place, url) } }
  if (scheme !== 's3') return { at, what: `is a ${scheme}:// remote, which mlv does not read; "dvc fetch" its data first` }
  try {
    parsePlace(url, place)
  } catch (error) {
    // The cache may hold all there is.
    if (!hasCode(error, 'CONFIG_INVALID', 'SECRET_REFUSED')) throw error
    return { at, what: `is none that mlv reads (${error.message}); "dvc fetch" its data first` }
  }
  const settings: DvcRemote['settings'] = { url }
  for (const [key, setting] of Object.entries(SETTINGS))
    if (values.has(key)) Object.assign(settings, { [setting]: values.get(key) })
  return { name, settings }
}

/** Reads what DVC's settings say of its cache and remotes: .dvc/config and .dvc/config.local. @throws DVC_INVALID, FILE_UNREADABLE */
export function readDvcConfig(place: DvcPlace): DvcConfig {
  const { root } = place
  const sections = readSections(root)
  const preferred = sections.get('core')?.get('remote')
  const cache = sections.get('cache')?.get('dir')
  const config: DvcConfig = {
    cacheDir: cache === undefined ? join(root, '.dvc', 'cache') : folderOf(place, cache),
    remotes: [],
    leftovers: [],
  }
  for (const [section, values] of sections) {
    const name = /^remote "(.*)"$/.exec(section)?.[1]
    if (name === undefined) continue
    const remote = readRemote(place, name, values)
    if ('what' in remote) config.leftovers.push(remote)
    else if (name === preferred) config.remotes.unshift(remote)
    else config.remotes.push(remote)
  }
  return config
}

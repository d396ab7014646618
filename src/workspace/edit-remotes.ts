import { relative, sep } from 'node:path'
import { MlvError } from '../base/errors.ts'
import { parsePlace } from '../transport/place.ts'
import type { ConfigOrigin, RemoteConfig } from './config.ts'
import { remoteNameProblem } from './config-keys.ts'
import { type ConfigEdit, type ConfigTarget, editConfig } from './edit-config.ts'
import { isOutside } from './folder-url.ts'
import { type ConfigPlace, openConfig, readLayer } from './open-config.ts'

export type RemoteSettings = Partial<Omit<RemoteConfig, 'url' | 'access_key_id' | 'secret_access_key' | 'session_token'>>

export interface RemoteChange {
  name: string
  url?: string
  /** where it was written, as messages call it */
  file: string
  default: boolean
  /** it was to be the default remote, and this setting that wins over that file says another */
  overruled?: { remote: string; by: string }
  /** a folder in the work tree, which git would add unless told not to */
  inWorkTree?: boolean
}

function checkName(name: string): void {
  const problem = remoteNameProblem(name)
  if (problem) throw new MlvError('CONFIG_INVALID', `The remote's name "${name}" ${problem}`, { hint: 'For example "origin".' })
}

/** The url as it is kept: folders in the repository relative to the project's root, others absolute, whatever the current folder. */
function keptUrl(typed: string, cwd: string, place: ConfigPlace): { url: string; outside: boolean; folder: boolean } {
  const root = place.root ?? cwd
  const parsed = parsePlace(typed, { root: cwd, env: place.env })
  if (parsed.kind !== 'folder') return { url: typed.replace(/\/+$/, ''), outside: false, folder: false }
  if (isOutside(parsed.folder, place.workTree ?? root)) return { url: parsed.folder, outside: true, folder: true }
  return { url: relative(root, parsed.folder).split(sep).join('/') || '.', outside: false, folder: true }
}

function settingEdits(name: string, settings: RemoteSettings, folder: boolean): ConfigEdit[] {
  const edits = Object.entries(settings).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key: `remotes.${name}.${key}`, value }],
  )
  if (folder && edits.length > 0)
    throw new MlvError('USAGE', `${edits[0]!.key.split('.')[2]} is a setting of s3:// remotes, and this one is a folder`, {
      hint: 'Leave it out, or give an s3://BUCKET/PREFIX url.',
    })
  return edits
}

/** Adds a remote. Without `target` a folder outside the repository goes to this clone's own file, anything else to the committed one.
 *  The first remote becomes the default.   @throws CONFIG_INVALID, USAGE, SECRET_REFUSED */
export async function addRemote(
  place: ConfigPlace,
  request: {
    name: string
    url: string
    settings: RemoteSettings
    cwd: string
    target?: ConfigTarget
    makeDefault: boolean
    force: boolean
  },
): Promise<RemoteChange> {
  const { name, settings, force } = request
  checkName(name)
  const config = await openConfig(place)
  if (config.remote(name) && !force)
    throw new MlvError('CONFIG_INVALID', `There is a remote "${name}" already: ${config.remote(name)!.url}`, {
      hint: `Change it with "mlv remote modify ${name} --url URL", or replace it with --force.`,
    })
  const { url, outside, folder } = keptUrl(request.url, request.cwd, place)
  const target = request.target ?? (outside ? 'local' : 'project')
  const becomesDefault = request.makeDefault || (config.remotes().length === 0 && config.get('core.remote') === undefined)
  const edits = settingEdits(name, settings, folder)
  if (force) await removeFrom(place, name, [...new Set<ConfigTarget>(['project', 'local', target])])
  const { name: file } = await editConfig(
    target,
    [...(becomesDefault ? [{ key: 'core.remote', value: name }] : []), { key: `remotes.${name}.url`, value: url }, ...edits],
    place,
  )
  const chosen = becomesDefault ? await chosenDefault(place, name) : { default: config.get('core.remote') === name }
  return { name, url, file, ...chosen, inWorkTree: folder && !outside }
}

/** Whether a remote is the default now that one file says so. */
async function chosenDefault(place: ConfigPlace, name: string): Promise<Pick<RemoteChange, 'default' | 'overruled'>> {
  const winner = (await openConfig(place)).list().find(({ key }) => key === 'core.remote')
  if (!winner || winner.value === name) return { default: true }
  return { default: false, overruled: { remote: String(winner.value), by: winner.from ?? winner.origin } }
}

async function removeFrom(place: ConfigPlace, name: string, targets: ConfigTarget[]): Promise<string[]> {
  const files: string[] = []
  for (const target of targets) {
    const { name: file, changed } = await editConfig(target, [{ key: `remotes.${name}`, value: undefined }], place)
    if (changed[0]) files.push(file)
  }
  return files
}

function asTarget(origin: ConfigOrigin | undefined): ConfigTarget {
  return origin === 'user' || origin === 'local' ? origin : 'project'
}

/** The file that gives a remote its url. @throws REMOTE_UNKNOWN */
async function homeOf(place: ConfigPlace, name: string): Promise<ConfigTarget> {
  const config = await openConfig(place)
  if (config.remote(name) === undefined)
    throw new MlvError('REMOTE_UNKNOWN', `There is no remote "${name}"`, {
      hint: config.remotes().length > 0 ? `Remotes are: ${config.remotes().join(', ')}.` : `Run "mlv remote add ${name} URL".`,
    })
  return asTarget(config.list().find((item) => item.key === `remotes.${name}.url`)?.origin)
}

/** Changes settings of a remote, by default in the file that has its url. @throws REMOTE_UNKNOWN, CONFIG_INVALID, SECRET_REFUSED */
export async function modifyRemote(
  place: ConfigPlace,
  request: { name: string; url?: string; settings: RemoteSettings; cwd: string; target?: ConfigTarget },
): Promise<RemoteChange> {
  const { name, settings, cwd } = request
  const home = await homeOf(place, name)
  const config = await openConfig(place)
  const kept = keptUrl(request.url ?? config.remote(name)!.url, request.url === undefined ? (place.root ?? cwd) : cwd, place)
  // A committed remote that is moved to a folder of this machine is moved for this clone alone.
  const target = request.target ?? (request.url !== undefined && kept.outside && home === 'project' ? 'local' : home)
  const edits = settingEdits(name, settings, kept.folder)
  if (request.url !== undefined) edits.unshift({ key: `remotes.${name}.url`, value: kept.url })
  if (edits.length === 0) throw new MlvError('USAGE', 'Nothing to change is given', { hint: 'See "mlv remote modify --help".' })
  const { name: file } = await editConfig(target, edits, place)
  return { name, url: kept.url, file, default: config.get('core.remote') === name, inWorkTree: kept.folder && !kept.outside }
}

/** Forgets a remote in one file, or in the committed one and this clone's; also as the default. What it stores stays.
 *  @returns the files that were changed   @throws REMOTE_UNKNOWN */
export async function removeRemote(place: ConfigPlace, name: string, target: ConfigTarget | undefined): Promise<string[]> {
  const home = await homeOf(place, name)
  const targets: ConfigTarget[] = target ? [target] : [...new Set<ConfigTarget>(['project', 'local', home])]
  const files = await removeFrom(place, name, targets)
  for (const each of targets) {
    const layer = await readLayer(each, place)
    if (layer.values.get('core.remote')?.value === name) await editConfig(each, [{ key: 'core.remote', value: undefined }], place)
  }
  return files
}

/** Makes a remote the default, by default in the file that has its url. @throws REMOTE_UNKNOWN */
export async function setDefaultRemote(
  place: ConfigPlace,
  name: string,
  target: ConfigTarget | undefined,
): Promise<RemoteChange> {
  const home = await homeOf(place, name)
  const { name: file } = await editConfig(target ?? home, [{ key: 'core.remote', value: name }], place)
  return { name, file, ...(await chosenDefault(place, name)) }
}

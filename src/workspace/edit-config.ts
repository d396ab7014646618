import type { Document } from 'yaml'
import { writeFileAtomic } from '../base/atomic.ts'
import { MlvError } from '../base/errors.ts'
import { checkValue, refuseSecret, typeOfKey } from './config-keys.ts'
import { isOutside, parseFolderUrl } from './folder-url.ts'
import { type ConfigPlace, configFile, readConfigText } from './open-config.ts'

export type ConfigTarget = 'user' | 'project' | 'local'

/** One change: a value, or undefined to take the key out. */
export interface ConfigEdit {
  key: string
  value: unknown
}

async function readDocument(text: string, name: string): Promise<Document> {
  const { parseYaml } = await import('../base/yaml.ts')
  const { document, value, at } = parseYaml(text, name)
  if (value !== null && value !== undefined && (typeof value !== 'object' || Array.isArray(value)))
    throw new MlvError('CONFIG_INVALID', `${at()}: the file takes a mapping of keys to values`, {
      hint: `Correct ${name}, or restore it from git.`,
    })
  return document
}

/** Takes out sections that have become empty, from the inside. */
function prune(document: Document, path: string[]): void {
  for (let depth = path.length - 1; depth > 0; depth--) {
    const node = document.getIn(path.slice(0, depth), true) as { items?: unknown[] } | undefined
    if (node?.items?.length !== 0) return
    document.deleteIn(path.slice(0, depth))
  }
}

/** A mapping to write into, also where a section stands without anything below it (`core:`). @throws CONFIG_INVALID */
function openSections(document: Document, path: string[], name: string): void {
  for (let depth = 1; depth < path.length; depth++) {
    const section = path.slice(0, depth)
    const node: unknown = document.getIn(section, true)
    const value = (node as { value?: unknown } | undefined)?.value
    if (node === undefined || (!hasItems(node) && (value === null || value === undefined)))
      document.setIn(section, document.createNode({}))
    else if (!hasItems(node))
      throw new MlvError('CONFIG_INVALID', `${name}: ${section.join('.')} takes a mapping of keys to values`, {
        hint: `Correct ${name} first.`,
      })
  }
}

function hasItems(node: unknown): boolean {
  return typeof node === 'object' && node !== null && 'items' in node && typeof (node as { has?: unknown }).has === 'function'
}

function checkCommitted(key: string, value: unknown, place: ConfigPlace): void {
  if (key === 'cache.dir')
    throw new MlvError('CONFIG_INVALID', 'cache.dir is a matter of this machine and does not count in the committed file', {
      hint: `Run "mlv config set cache.dir ${String(value)} --local".`,
    })
  if (!key.startsWith('remotes.') || !key.endsWith('.url') || place.root === undefined) return
  const folder = parseFolderUrl(String(value), place.root, place.env)
  if (folder !== undefined && isOutside(folder, place.workTree ?? place.root))
    throw new MlvError(
      'CONFIG_INVALID',
      `${String(value)} is a folder outside the repository, which does not count in the committed file`,
      {
        hint: `Run "mlv config set ${key} ${String(value)} --local".`,
      },
    )
}

/** Applies changes to one config file, keeping its comments and unknown keys; the file is written atomically, and not at all when
 *  nothing changes. A file that can hold secrets is made readable for its owner alone.
 *  @returns the file's path, and for each edit whether it changed something
 *  @throws CONFIG_INVALID, SECRET_REFUSED, YAML_INVALID, PROJECT_MISSING, FILE_UNWRITABLE */
export async function editConfig(
  target: ConfigTarget,
  edits: ConfigEdit[],
  place: ConfigPlace,
): Promise<{ path: string; name: string; changed: boolean[] }> {
  const file = configFile(target, place)
  if (!file)
    throw new MlvError('PROJECT_MISSING', 'Here is neither an mlv project nor a home folder to keep settings in', {
      hint: 'Run "mlv init" in a git repository first.',
    })
  for (const { key, value } of edits) {
    if (value === undefined) continue
    if (target === 'project') refuseSecret(key, value, file.name)
    if (typeOfKey(key)) checkValue(key, value)
    if (target === 'project') checkCommitted(key, value, place)
  }
  const document = await readDocument(readConfigText(file.path, file.name), file.name)
  const changed = edits.map(({ key, value }) => {
    const path = key.split('.')
    if (value === undefined) {
      if (!hasItems(document.contents) || !document.hasIn(path)) return false
      document.deleteIn(path)
      prune(document, path)
      return true
    }
    if (hasItems(document.contents) && JSON.stringify(plain(document.getIn(path))) === JSON.stringify(value)) return false
    if (!hasItems(document.contents)) startMapping(document)
    openSections(document, path, file.name)
    document.setIn(path, document.createNode(value, { flow: true }))
    return true
  })
  if (changed.includes(true)) {
    const empty = hasItems(document.contents) && (document.contents as { items?: unknown[] }).items?.length === 0
    if (empty) document.contents = null
    writeFileAtomic(file.path, textOf(document), {
      mode: target === 'project' ? undefined : 0o600,
    })
  }
  return { ...file, changed }
}

/** An empty document's comment stays above the keys that come. */
function startMapping(document: Document): void {
  const mapping = document.createNode({}) as unknown as Document['contents'] & { flow?: boolean }
  mapping.flow = false
  if (document.comment) {
    document.commentBefore = document.comment
    document.comment = null
  }
  document.contents = mapping
}

function plain(node: unknown): unknown {
  return typeof node === 'object' && node !== null && 'toJSON' in node ? (node as { toJSON(): unknown }).toJSON() : node
}

/** Without keys, only the comments are left: the yaml package would write `null` for them. */
function textOf(document: Document): string {
  const text = document.toString({ lineWidth: 0, flowCollectionPadding: false })
  return document.contents === null ? text.replace(/^null\n/m, '') : text
}

import { MlvError } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import { compareUtf8, type RepoPath } from '../base/paths.ts'
import type { Entry } from '../workspace/entry.ts'
import { canonicalJson } from './canonical-json.ts'
import { asEntry, asList, asMap, asPath, Fault, paramName, type Raw, readParam, readVariable, sorted } from './lock-fields.ts'
import { faultPlace } from './lock-syntax.ts'
import { LOCK_FILE } from './stage.ts'

export const LOCK_VERSION = 1

export interface LockedDep {
  path: RepoPath
  entry: Entry
}

export interface LockedParam {
  file: RepoPath
  /** dotted; '' for the whole file */
  key: string
  /** what JSON can hold */
  value: unknown
}

export interface LockedVariable {
  name: string
  /** null when it was not set */
  value: string | null
}

export interface LockedOut {
  path: RepoPath
  entry: Entry
  git: boolean
  persist: boolean
}

/** What a stage was last run with, and what came out. Lists are sorted by the UTF-8 bytes of their names. */
export interface LockedStage {
  cmd: string[]
  wdir: RepoPath
  /** '' is /bin/sh */
  shell: string
  deps: LockedDep[]
  params: LockedParam[]
  env: LockedVariable[]
  outs: LockedOut[]
  runKey: Oid
  /** a dep changed while it ran: the outs are what the workspace holds, and nobody knows of which inputs */
  unsure: boolean
  /** map stages: how the inputs were cut, and the table of what each datum gave */
  each?: unknown
  datums?: Entry
  /** keys this version does not know */
  extra: Record<string, unknown>
}

export interface Lock {
  stages: Map<string, LockedStage>
  extra: Record<string, unknown>
}

export function emptyLock(): Lock {
  return { stages: new Map(), extra: {} }
}

const STAGE_KEYS = new Set(['cmd', 'wdir', 'shell', 'each', 'datums', 'deps', 'params', 'env', 'outs', 'run_key', 'unsure'])

function rest(raw: Raw, known: Set<string>): Raw {
  return Object.fromEntries(Object.entries(raw).filter(([key]) => !known.has(key)))
}

function readStage(value: unknown, keys: (string | number)[]): LockedStage {
  const raw = asMap(value, keys)
  const { cmd } = raw
  if (!Array.isArray(cmd) || !cmd.every((line) => typeof line === 'string')) throw new Fault(keys, 'has no list of commands')
  if (typeof raw.run_key !== 'string' || !isOid(raw.run_key))
    throw new Fault(keys, 'has no run key of 64 lower-case hex characters')
  const deps = asList(raw, 'deps', keys, (item, at) => ({ path: asPath(item.path, at), entry: asEntry(item, at) }))
  const outs = asList(raw, 'outs', keys, (item, at) => ({
    path: asPath(item.path, at),
    entry: asEntry(item, at),
    git: item.git === true,
    persist: item.persist === true,
  }))
  return {
    cmd: cmd as string[],
    wdir: raw.wdir === undefined ? ('' as RepoPath) : asPath(raw.wdir, keys),
    shell: typeof raw.shell === 'string' ? raw.shell : '',
    deps: sorted(deps, (dep) => dep.path, [...keys, 'deps']),
    params: sorted(asList(raw, 'params', keys, readParam), paramName, [...keys, 'params']),
    env: sorted(asList(raw, 'env', keys, readVariable), (variable) => variable.name, [...keys, 'env']),
    outs: sorted(outs, (out) => out.path, [...keys, 'outs']),
    runKey: raw.run_key,
    unsure: raw.unsure === true,
    ...(raw.each === undefined ? {} : { each: raw.each }),
    ...(raw.datums === undefined ? {} : { datums: asEntry(asMap(raw.datums, [...keys, 'datums']), [...keys, 'datums']) }),
    extra: rest(raw, STAGE_KEYS),
  }
}

function readLock(value: unknown): Lock {
  const raw = asMap(value, [])
  if (raw.mlv !== LOCK_VERSION) {
    const newer = typeof raw.mlv === 'number' && raw.mlv > LOCK_VERSION
    throw new MlvError(
      'LOCK_INVALID',
      `${LOCK_FILE} has format ${JSON.stringify(raw.mlv) ?? 'none'}; this mlv reads format ${LOCK_VERSION}`,
      {
        hint: newer ? 'Install a newer mlv.' : `Restore it with "git checkout ${LOCK_FILE}", or delete it and run "mlv repro".`,
      },
    )
  }
  const stages = new Map<string, LockedStage>()
  for (const [name, stage] of Object.entries(asMap(raw.stages, ['stages']))) stages.set(name, readStage(stage, ['stages', name]))
  return { stages, extra: rest(raw, new Set(['mlv', 'stages'])) }
}

type OwnEntry = { path: RepoPath; kind: Entry['kind']; oid: Oid; size: number; files: number; git?: true; persist?: true }

type OwnStage = {
  cmd: string[]
  wdir?: RepoPath
  shell?: string
  deps?: OwnEntry[]
  params?: LockedParam[]
  env?: LockedVariable[]
  outs?: OwnEntry[]
  run_key: Oid
  unsure?: true
  each?: unknown
  datums?: Entry
}

function takeEntry({ kind, oid, size, files }: OwnEntry): Entry {
  return kind === 'tree' ? { kind, oid, size, files } : { kind, oid, size }
}

/** A lock whose text formatLock has written and that was checked then: checking it anew would take as long as all else. */
function takeLock(value: unknown): Lock {
  const { stages: written, ...others } = value as { mlv: number; stages: Record<string, OwnStage> }
  const stages = new Map<string, LockedStage>()
  for (const name of Object.keys(written)) {
    const stage = written[name]!
    const { each, datums } = stage
    stages.set(name, {
      cmd: stage.cmd,
      wdir: stage.wdir ?? ('' as RepoPath),
      shell: stage.shell ?? '',
      deps: (stage.deps ?? []).map((dep) => ({ path: dep.path, entry: takeEntry(dep) })),
      params: stage.params ?? [],
      env: stage.env ?? [],
      outs: (stage.outs ?? []).map((out) => ({
        path: out.path,
        entry: takeEntry(out),
        git: out.git === true,
        persist: out.persist === true,
      })),
      runKey: stage.run_key,
      unsure: stage.unsure === true,
      ...(each === undefined ? {} : { each }),
      ...(datums === undefined ? {} : { datums: takeEntry(datums as OwnEntry) }),
      extra: rest(stage, STAGE_KEYS),
    })
  }
  return { stages, extra: rest(others, new Set(['mlv'])) }
}

/** A lock is written by mlv, and larger than what people write. */
const MAX_CHARACTERS = 50 << 20

const RESTORE = `Restore it with "git checkout ${LOCK_FILE}", or delete it and run "mlv repro".`

/** Line and column of a fault; and of a key that stands twice, which JSON.parse lets pass. */
async function placed(text: string, fault: Fault | undefined): Promise<MlvError | undefined> {
  const { parseYaml } = await import('../base/yaml.ts')
  try {
    const file = parseYaml(text, LOCK_FILE, MAX_CHARACTERS)
    if (!fault) return undefined
    const name = fault.keys.length === 0 ? 'the file' : fault.keys.slice(fault.keys.length > 1 ? 1 : 0).join(' ')
    return new MlvError('LOCK_INVALID', `${file.at(...fault.keys)}: ${name} ${fault.message}`, { hint: RESTORE })
  } catch (error) {
    return new MlvError('LOCK_INVALID', error instanceof MlvError ? error.message : `${LOCK_FILE}: ${String(error)}`, {
      hint: RESTORE,
      cause: error,
    })
  }
}

/** Reads the text of mlv.lock. Lists come back sorted, keys it does not know are kept.
 *  @param own the text is known to be formatLock's, and nothing is checked
 *  @throws LOCK_INVALID with line and column */
export async function parseLock(text: string, own = false): Promise<Lock> {
  if (own) return takeLock(JSON.parse(text))
  const conflict = /^(<<<<<<<|=======|>>>>>>>)/m.exec(text)
  if (conflict)
    throw new MlvError('LOCK_INVALID', `${LOCK_FILE}:${text.slice(0, conflict.index).split('\n').length}:1: merge markers`, {
      hint: `Take one side with "git checkout --ours ${LOCK_FILE}" (or --theirs), then "mlv repro" runs what differs.`,
    })
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new MlvError('LOCK_INVALID', `${LOCK_FILE}:${faultPlace(text)}: no valid JSON`, { hint: RESTORE, cause: error })
  }
  try {
    const lock = readLock(value)
    // Only a text of another hand can hold a key twice.
    const twice = formatLock(lock) === text ? undefined : await placed(text, undefined)
    if (twice) throw twice
    return lock
  } catch (error) {
    if (error instanceof RangeError)
      throw new MlvError('LOCK_INVALID', `${LOCK_FILE}: ${error.message}`, { hint: RESTORE, cause: error })
    throw error instanceof Fault ? await placed(text, error) : error
  }
}

function section(name: string, lines: string[]): string[] {
  return lines.length === 0 ? [] : [`      "${name}": [\n        ${lines.join(',\n        ')}\n      ]`]
}

function entryText(path: string, entry: Entry, flags: string): string {
  const files = entry.kind === 'tree' ? `, "files": ${entry.files}` : ''
  return `{"path": ${JSON.stringify(path)}, "kind": "${entry.kind}", "oid": "${entry.oid}", "size": ${entry.size}${files}${flags}}`
}

function extraLines(extra: Raw, indent: string): string[] {
  const keys = Object.keys(extra).sort(compareUtf8)
  return keys.map((key) => `${indent}${JSON.stringify(key)}: ${canonicalJson(extra[key])}`)
}

function formatStage(stage: LockedStage): string {
  const outFlags = (out: LockedOut) => `${out.git ? ', "git": true' : ''}${out.persist ? ', "persist": true' : ''}`
  const paramText = ({ file, key, value }: LockedParam) =>
    `{"file": ${JSON.stringify(file)}, "key": ${JSON.stringify(key)}, "value": ${canonicalJson(value)}}`
  const lines = [
    `      "cmd": ${canonicalJson(stage.cmd)}`,
    ...(stage.wdir === '' ? [] : [`      "wdir": ${JSON.stringify(stage.wdir)}`]),
    ...(stage.shell === '' ? [] : [`      "shell": ${JSON.stringify(stage.shell)}`]),
    ...section(
      'deps',
      stage.deps.map((dep) => entryText(dep.path, dep.entry, '')),
    ),
    ...section('params', stage.params.map(paramText)),
    ...section(
      'env',
      stage.env.map((variable) => `{"name": ${JSON.stringify(variable.name)}, "value": ${JSON.stringify(variable.value)}}`),
    ),
    ...section(
      'outs',
      stage.outs.map((out) => entryText(out.path, out.entry, outFlags(out))),
    ),
    `      "run_key": "${stage.runKey}"`,
    ...(stage.unsure ? ['      "unsure": true'] : []),
    ...(stage.each === undefined ? [] : [`      "each": ${canonicalJson(stage.each)}`]),
    ...(stage.datums === undefined ? [] : [`      "datums": ${canonicalJson(stage.datums)}`]),
    ...extraLines(stage.extra, '      '),
  ]
  return `{\n${lines.join(',\n')}\n    }`
}

/** The one text of a lock: stages sorted by name, one line per dep, param, variable and out, no times. */
export function formatLock(lock: Lock): string {
  const names = [...lock.stages.keys()].sort(compareUtf8)
  const stages = names.map((name) => `    ${JSON.stringify(name)}: ${formatStage(lock.stages.get(name)!)}`)
  const body = stages.length === 0 ? '{}' : `{\n${stages.join(',\n')}\n  }`
  return `{\n${[`  "mlv": ${LOCK_VERSION}`, `  "stages": ${body}`, ...extraLines(lock.extra, '  ')].join(',\n')}\n}\n`
}

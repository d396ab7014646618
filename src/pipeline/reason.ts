import type { RepoPath } from '../base/paths.ts'
import type { ChangeCounts, Entry } from '../workspace/entry.ts'
import { canonicalJson } from './canonical-json.ts'

/** Why a stage runs. */
export type Reason =
  | { kind: 'never ran' | 'forced' | 'always' | 'unsure' | 'each' }
  | { kind: 'command'; before?: string[]; after?: string[] }
  | { kind: 'upstream'; stage: string }
  | { kind: 'folder' | 'shell'; before: string; after: string }
  | { kind: 'dep'; path: RepoPath; change: 'changed' | 'added' | 'removed'; before?: Entry; after?: Entry; counts?: ChangeCounts }
  /** undefined: not declared then, or not now */
  | { kind: 'param'; file: RepoPath; key: string; before: unknown; after: unknown }
  /** null: not set; undefined: not declared */
  | { kind: 'env'; name: string; before: string | null | undefined; after: string | null | undefined }
  | { kind: 'out'; path: RepoPath; change: 'added' | 'removed' | 'kept differently' | 'missing' | 'outdated' | 'changed by hand' }

const LONGEST_VALUE = 60

function shown(value: unknown): string {
  if (value === undefined) return '(none)'
  const text = typeof value === 'string' && value !== '' ? value : canonicalJson(value)
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE - 1)}…` : text
}

function variable(value: string | null | undefined): string {
  return value === null ? '(unset)' : value === undefined ? '(not declared)' : shown(value)
}

/** One reason in words: `params.yaml: train.lr 0.1 → 0.2`, `data/train changed: +3 −0 ~1`. */
export function describeReason(reason: Reason): string {
  switch (reason.kind) {
    case 'never ran':
    case 'forced':
      return reason.kind
    case 'always':
      return 'always runs'
    case 'command':
      return 'command changed'
    case 'each':
      return 'each changed'
    case 'unsure':
      return 'deps changed while it last ran'
    case 'upstream':
      return `${reason.stage} will run`
    case 'folder':
      return `wdir ${shown(reason.before || '.')} → ${shown(reason.after || '.')}`
    case 'shell':
      return `shell ${shown(reason.before || '/bin/sh')} → ${shown(reason.after || '/bin/sh')}`
    case 'dep': {
      if (reason.change !== 'changed') return `dep ${reason.path} ${reason.change}`
      const { counts } = reason
      return `${reason.path} changed${counts ? `: +${counts.added} −${counts.deleted} ~${counts.modified}` : ''}`
    }
    case 'param': {
      const key = reason.key === '' ? '' : ` ${reason.key}`
      return `${reason.file}:${key} ${shown(reason.before)} → ${shown(reason.after)}`
    }
    case 'env':
      return `env ${reason.name} ${variable(reason.before)} → ${variable(reason.after)}`
    case 'out':
      return `out ${reason.path} ${reason.change}`
  }
}

function version(entry: Entry | undefined): string {
  if (!entry) return '(none)'
  const counted = (count: number, one: string) => `${count} ${count === 1 ? one : `${one}s`}`
  const files = entry.kind === 'tree' ? `${counted(entry.files, 'file')}, ` : ''
  return `${entry.oid.slice(0, 12)} (${files}${counted(entry.size, 'byte')})`
}

/** One reason with its old and new value in full. */
export function explainReason(reason: Reason): string {
  switch (reason.kind) {
    case 'param': {
      const value = (given: unknown) => (given === undefined ? '(none)' : canonicalJson(given))
      return `${reason.file}:${reason.key === '' ? '' : ` ${reason.key}`} ${value(reason.before)} → ${value(reason.after)}`
    }
    case 'env': {
      const value = (given: string | null | undefined) => (given === null ? '(unset)' : (given ?? '(not declared)'))
      return `env ${reason.name} ${value(reason.before)} → ${value(reason.after)}`
    }
    case 'dep':
      return reason.change === 'changed'
        ? `${describeReason(reason)}: ${version(reason.before)} → ${version(reason.after)}`
        : describeReason(reason)
    case 'command':
      return reason.before && reason.after
        ? `command ${reason.before.join(' && ')} → ${reason.after.join(' && ')}`
        : describeReason(reason)
    default:
      return describeReason(reason)
  }
}

/** The first reasons of many, on one line. */
export function describeReasons(reasons: Reason[], most = 3): string {
  const words = reasons.slice(0, most).map(describeReason)
  if (reasons.length > most) words.push(`and ${reasons.length - most} more`)
  return words.join(', ')
}

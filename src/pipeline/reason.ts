import type { RepoPath } from '../base/paths.ts'
import type { ChangeCounts } from '../workspace/entry.ts'
import { canonicalJson } from './canonical-json.ts'

/** Why a stage runs. */
export type Reason =
  | { kind: 'never ran' | 'forced' | 'always' | 'command' | 'unsure' }
  | { kind: 'upstream'; stage: string }
  | { kind: 'folder'; before: string; after: string }
  | { kind: 'dep'; path: RepoPath; change: 'changed' | 'added' | 'removed'; counts?: ChangeCounts }
  /** undefined: not declared then, or not now */
  | { kind: 'param'; file: RepoPath; key: string; before: unknown; after: unknown }
  /** null: not set; undefined: not declared */
  | { kind: 'env'; name: string; before: string | null | undefined; after: string | null | undefined }
  | { kind: 'out'; path: RepoPath; change: 'added' | 'removed' | 'kept differently' | 'missing' | 'changed by hand' }

const LONGEST_VALUE = 60

function shown(value: unknown): string {
  if (value === undefined) return '(none)'
  const text = typeof value === 'string' && value !== '' ? value : canonicalJson(value)
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE - 1)}…` : text
}

function variable(value: string | null | undefined): string {
  return value === null ? '(unset)' : shown(value)
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
    case 'unsure':
      return 'deps changed while it last ran'
    case 'upstream':
      return `${reason.stage} will run`
    case 'folder':
      return `wdir ${shown(reason.before || '.')} → ${shown(reason.after || '.')}`
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

/** The first reasons of many, on one line. */
export function describeReasons(reasons: Reason[], most = 3): string {
  const words = reasons.slice(0, most).map(describeReason)
  if (reasons.length > most) words.push(`and ${reasons.length - most} more`)
  return words.join(', ')
}

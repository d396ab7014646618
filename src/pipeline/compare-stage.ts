import { flatten, formatKey, parseKey, type Value } from '../measure/values.ts'
import type { WorkspaceData } from '../workspace/data.ts'
import { sameEntry } from '../workspace/entry.ts'
import { canonicalJson } from './canonical-json.ts'
import type { StageInputs } from './inputs.ts'
import type { LockedParam, LockedStage } from './lock.ts'
import type { Reason } from './reason.ts'
import type { Stage } from './stage.ts'

function sameValue(a: unknown, b: unknown): boolean {
  return a === b || canonicalJson(a) === canonicalJson(b)
}

function isMap(value: unknown): value is { [key: string]: Value } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Names the leaves that differ, not the whole map that holds them. */
function paramReasons(before: LockedParam | undefined, after: LockedParam | undefined): Reason[] {
  const { file, key } = (after ?? before)!
  if (before && after && sameValue(before.value, after.value)) return []
  if (!before || !after || !isMap(before.value) || !isMap(after.value))
    return [{ kind: 'param', file, key, before: before?.value, after: after?.value }]
  const [old, now] = [flatten(before.value), flatten(after.value)]
  const names = new Set([...old.keys(), ...now.keys()])
  const prefix = key === '' ? [] : parseKey(key)
  const reasons: Reason[] = []
  for (const name of names) {
    if (old.has(name) && now.has(name) && sameValue(old.get(name), now.get(name))) continue
    const full = formatKey([...prefix, ...(name === '' ? [] : parseKey(name))])
    reasons.push({ kind: 'param', file, key: full, before: old.get(name), after: now.get(name) })
  }
  return reasons
}

async function depReasons(locked: LockedStage, inputs: StageInputs, data: WorkspaceData): Promise<Reason[]> {
  const before = new Map(locked.deps.map((dep) => [dep.path, dep.entry]))
  const reasons: Reason[] = []
  for (const { path, entry } of inputs.deps) {
    const old = before.get(path)
    before.delete(path)
    if (!old) reasons.push({ kind: 'dep', path, change: 'added' })
    else if (!sameEntry(old, entry)) {
      const counts = old.kind === 'tree' && entry.kind === 'tree' ? await data.compare(old, entry) : undefined
      reasons.push({ kind: 'dep', path, change: 'changed', before: old, after: entry, ...(counts ? { counts } : {}) })
    }
  }
  for (const path of before.keys()) if (!inputs.pending.has(path)) reasons.push({ kind: 'dep', path, change: 'removed' })
  return reasons
}

function paramsReasons(locked: LockedStage, inputs: StageInputs): Reason[] {
  const name = (param: LockedParam) => `${param.file}\0${param.key}`
  const before = new Map(locked.params.map((param) => [name(param), param]))
  const reasons = inputs.params.flatMap((param) => paramReasons(before.get(name(param)), param))
  for (const param of inputs.params) before.delete(name(param))
  for (const param of before.values()) if (!inputs.pending.has(param.file)) reasons.push(...paramReasons(param, undefined))
  return reasons
}

function envReasons(locked: LockedStage, inputs: StageInputs): Reason[] {
  const before = new Map(locked.env.map((variable) => [variable.name, variable.value]))
  const after = new Map(inputs.env.map((variable) => [variable.name, variable.value]))
  return [...new Set([...after.keys(), ...before.keys()])]
    .filter((name) => before.get(name) !== after.get(name))
    .map((name) => ({ kind: 'env', name, before: before.get(name), after: after.get(name) }))
}

function outReasons(stage: Stage, locked: LockedStage): Reason[] {
  const before = new Map(locked.outs.map((out) => [out.path, out]))
  const reasons: Reason[] = []
  for (const out of stage.outs) {
    const old = before.get(out.path)
    before.delete(out.path)
    if (!old) reasons.push({ kind: 'out', path: out.path, change: 'added' })
    else if (old.git !== out.git || old.persist !== out.persist)
      reasons.push({ kind: 'out', path: out.path, change: 'kept differently' })
  }
  for (const path of before.keys()) reasons.push({ kind: 'out', path, change: 'removed' })
  return reasons
}

/** What differs between what a stage was last run with and what it would run with now. */
export async function compareStage(
  stage: Stage,
  locked: LockedStage,
  inputs: StageInputs,
  data: WorkspaceData,
): Promise<Reason[]> {
  const reasons: Reason[] = []
  if (stage.cmd.length !== locked.cmd.length || stage.cmd.some((line, i) => line !== locked.cmd[i]))
    reasons.push({ kind: 'command', before: locked.cmd, after: stage.cmd })
  if (stage.shell !== locked.shell) reasons.push({ kind: 'shell', before: locked.shell, after: stage.shell })
  if (!sameValue(stage.each, locked.each)) reasons.push({ kind: 'each' })
  if (stage.wdir !== locked.wdir) reasons.push({ kind: 'folder', before: locked.wdir, after: stage.wdir })
  reasons.push(...paramsReasons(locked, inputs))
  reasons.push(...(await depReasons(locked, inputs, data)))
  reasons.push(...envReasons(locked, inputs))
  reasons.push(...outReasons(stage, locked))
  if (locked.unsure) reasons.push({ kind: 'unsure' })
  return reasons
}

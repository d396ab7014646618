import { readdirSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { type Limits, type Need, NO_NEED } from './schedule.ts'
import type { Stage } from './stage.ts'

const UNITS: Record<string, number> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
}

/** Bytes from `4GiB`, `500M`, `1.5 GB` or a number. */
export function parseBytes(value: unknown): number | undefined {
  if (typeof value === 'number') return value >= 0 && Number.isFinite(value) ? value : undefined
  const match = typeof value === 'string' ? /^\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]i?|)b?\s*$/i.exec(value) : null
  return match ? Number(match[1]) * UNITS[match[2]!.toLowerCase()]! : undefined
}

const isAmount = (value: unknown) => typeof value === 'number' && value >= 0 && Number.isFinite(value)

const SAMPLES = { cpus: '2', gpus: '1', memory: '4GiB' } as const

/** The first of what a stage takes of a machine that is no amount, with how one is written. More than a machine has is fine: such a stage runs alone. */
export function wrongAmount(resources: Record<string, unknown>): { key: string; sample: string } | undefined {
  for (const [key, sample] of Object.entries(SAMPLES)) {
    const value = resources[key]
    if (value === undefined || value === null) continue
    if (key === 'memory' ? parseBytes(value) === undefined : !isAmount(value)) return { key, sample }
  }
  return undefined
}

/** What a stage takes of this machine; undeclared amounts are not counted. */
export function needOf({ resources, mutex }: Stage): Need {
  if (!resources && mutex.length === 0) return NO_NEED
  const { cpus, gpus, memory } = (resources ?? {}) as { cpus?: number; gpus?: number; memory?: unknown }
  return { cpus: cpus ?? 0, memory: parseBytes(memory ?? 0)!, gpus: gpus ?? 0, mutex }
}

function countGpus(env: Record<string, string | undefined>): number {
  const visible = env.CUDA_VISIBLE_DEVICES
  if (visible !== undefined) return visible.split(',').filter((id) => id.trim() !== '' && id.trim() !== '-1').length
  try {
    // One folder a device, made by NVIDIA's driver.
    return readdirSync('/proc/driver/nvidia/gpus').length
  } catch {
    return 0
  }
}

/** What this machine has. @param jobs stages at once */
export function machineLimits(jobs: number, env: Record<string, string | undefined>): Limits {
  return { jobs, cpus: availableParallelism(), memory: totalmem(), gpus: countGpus(env) }
}

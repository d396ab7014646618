import { readdirSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { MlvError } from '../base/errors.ts'
import { type Limits, type Need, NO_NEED } from './schedule.ts'
import { placeText, type Stage } from './stage.ts'

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

function invalid(stage: Stage, key: string, value: unknown, sample: string): MlvError {
  return new MlvError(
    'PIPELINE_INVALID',
    `${placeText(stage.at)}: stage "${stage.name}": resources: ${key} is ${JSON.stringify(value)}`,
    {
      hint: `Write for example resources: {${key}: ${sample}}.`,
    },
  )
}

function readAmount(stage: Stage, key: 'cpus' | 'gpus'): number {
  const value = stage.resources?.[key]
  if (value === undefined || value === null) return 0
  if (typeof value === 'number' && value >= 0 && Number.isFinite(value)) return value
  throw invalid(stage, key, value, '2')
}

/** What a stage takes of this machine; undeclared amounts are not counted. @throws PIPELINE_INVALID */
export function needOf(stage: Stage): Need {
  if (!stage.resources && stage.mutex.length === 0) return NO_NEED
  const given = stage.resources?.memory
  const memory = given === undefined || given === null ? 0 : parseBytes(given)
  if (memory === undefined) throw invalid(stage, 'memory', given, '4GiB')
  return { cpus: readAmount(stage, 'cpus'), memory, gpus: readAmount(stage, 'gpus'), mutex: stage.mutex }
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

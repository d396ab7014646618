import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { systemCode } from './errors.ts'
import { oidOfBytes } from './oid.ts'

/** Where nobody collects them, as in a container without an init, ended processes keep their number. */
function isZombie(pid: number): boolean {
  try {
    return /^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch (error) {
    // Gone, or a system without /proc.
    if (['ENOENT', 'ESRCH', 'ENOTDIR'].includes(systemCode(error) ?? '')) return false
    throw error
  }
}

/** Whether a process of this machine has ended. */
export function hasEnded(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return isZombie(pid)
  } catch (error) {
    return systemCode(error) === 'ESRCH'
  }
}

let mark: string | undefined

/** 8 hex characters for where numbers of processes mean what they mean here: this machine, and in containers this one alone. */
export function machineMark(): string {
  mark ??= oidOfBytes(Buffer.from(JSON.stringify([hostname(), machineId(), processSpace()]))).slice(0, 8)
  return mark
}

/** Many machines are called localhost, and many containers alike. */
function machineId(): string {
  try {
    return readFileSync('/etc/machine-id', 'latin1')
  } catch {
    return ''
  }
}

function processSpace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return ''
  }
}

/** Who is at work on something, as a file says it to others. */
export interface ProcessOwner {
  pid: number
  host: string
  /** its machineMark(); absent in what an older mlv wrote */
  machine?: string
  /** its bootId(), where the system says it */
  boot?: string
}

export function thisProcess(): ProcessOwner {
  return { pid: process.pid, host: hostname(), machine: machineMark(), boot: bootId() }
}

/** Whether an owner's number says nothing here: it runs on another machine, or in another container, which may bear the same name. */
export function isElsewhere({ host, machine }: ProcessOwner): boolean {
  return machine === undefined ? host !== hostname() : machine !== machineMark()
}

/** Whether an owner ran before this machine was last started: after that its number may belong to any process. */
export function isOfEarlierBoot({ host, boot }: ProcessOwner): boolean {
  return boot !== undefined && bootId() !== undefined && boot !== bootId() && host === hostname()
}

/** Whether an owner has ended, as far as can be seen from here. */
export function isOwnerGone(owner: ProcessOwner): boolean {
  return isOfEarlierBoot(owner) || (!isElsewhere(owner) && hasEnded(owner.pid))
}

let boot: string | undefined

/** Names this start of the machine; undefined where the system does not say. */
export function bootId(): string | undefined {
  try {
    boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    // No such file outside Linux.
  }
  return boot
}

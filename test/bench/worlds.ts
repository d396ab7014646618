import { spawnSync } from 'node:child_process'
import { createCipheriv, createHash } from 'node:crypto'
import { closeSync, existsSync, mkdirSync, openSync, renameSync, rmSync, utimesSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Bench } from './bench.ts'

/** A tree of many equal files. */
export interface TreeShape {
  label: string
  files: number
  bytes: number
  perFolder: number
}

/** The two trees that all programs are measured on. */
export function treeShapes(bench: Bench): { photos: TreeShape; labels: TreeShape } {
  const photos = bench.scaled(10_000)
  const labels = bench.scaled(70_000)
  return {
    photos: { label: `${photos.toLocaleString('en')} × 10 KiB`, files: photos, bytes: 10_240, perFolder: 100 },
    labels: { label: `${labels.toLocaleString('en')} × 300 B`, files: labels, bytes: 300, perFolder: 1000 },
  }
}

/** Files older than any command that looks at them: young ones are rightly read twice. */
const LONG_AGO = new Date(Date.now() - 7_200_000)

/** Bytes that nothing compresses or shares, the same in every run. */
export function createNoise(seed: string): (length: number) => Buffer {
  const cipher = createCipheriv('aes-256-ctr', createHash('sha256').update(seed).digest(), Buffer.alloc(16))
  return (length) => cipher.update(Buffer.alloc(length))
}

export function writeTree(path: string, shape: TreeShape): void {
  const noise = createNoise(shape.label)
  for (let i = 0; i < shape.files; i++) {
    const folder = join(path, String(Math.floor(i / shape.perFolder)).padStart(3, '0'))
    if (i % shape.perFolder === 0) mkdirSync(folder, { recursive: true })
    writeOldFile(join(folder, `${String(i).padStart(6, '0')}.bin`), noise(shape.bytes))
  }
}

/** @param later seconds by which its time is younger than that of others, so that a rewritten one of equal size shows */
export function writeOldFile(path: string, bytes: Uint8Array | string, later = 0): void {
  const time = LONG_AGO.getTime() / 1000 + later
  writeFileSync(path, bytes)
  utimesSync(path, time, time)
}

/** Writes `size` bytes of noise in pieces; `inserted` bytes of other noise stand in their middle. */
export function writeLargeFile(path: string, size: number, inserted = 0, seed = 'large'): void {
  const noise = createNoise(seed)
  const file = openSync(path, 'w')
  const piece = 4 << 20
  for (let at = 0; at < size; at += piece) {
    if (inserted > 0 && at >= size / 2 && at - piece < size / 2) writeSync(file, createNoise('inserted')(inserted))
    writeSync(file, noise(Math.min(piece, size - at)))
  }
  closeSync(file)
  utimesSync(path, LONG_AGO, LONG_AGO)
}

/** Runs a command that is not measured. @throws with its stderr when it fails */
export function prepare(bench: Bench, cwd: string, command: string[]): void {
  const [program = '', ...args] = command
  const env = bench.env as NodeJS.ProcessEnv
  const result = spawnSync(program, args, { cwd, env, stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' })
  if (result.error) throw result.error
  if (result.status !== 0)
    throw new Error(`${command.join(' ').slice(0, 200)}: status ${result.status}\n${result.stderr.slice(-2000)}`)
}

export function initGit(bench: Bench, name: string): string {
  const path = bench.folder(name)
  prepare(bench, path, ['git', 'init', '-q', '-b', 'main'])
  return path
}

export function initMlv(bench: Bench, name: string): string {
  const path = initGit(bench, name)
  prepare(bench, path, bench.mlv('init', '--quiet'))
  return path
}

export function commitAll(bench: Bench, repo: string): void {
  prepare(bench, repo, ['git', 'add', '-A'])
  prepare(bench, repo, ['git', 'commit', '-q', '-m', 'All'])
}

/** Takes a tree out of the way until the end of the run: beside inodes that were deleted a moment ago ext4 makes new files several times as slowly. */
export function setAside(bench: Bench, path: string): void {
  if (existsSync(path)) renameSync(path, join(bench.folder('aside'), 'tree'))
}

export function remove(...paths: string[]): void {
  for (const path of paths) rmSync(path, { recursive: true, force: true, maxRetries: 3 })
}

import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findProgram } from '../helpers/server-process.ts'
import type { Timed } from './measure.ts'
import type { Row } from './row.ts'

/** One group of measurements, which `npm run bench -- NAME` runs alone. */
export interface Section {
  name: string
  /** yields each row once it is known */
  measure(bench: Bench): AsyncIterable<Row>
}

export interface Bench {
  /** a folder of this run, removed at its end */
  dir: string
  /** the user's own git, mlv and cloud settings stay outside */
  env: Record<string, string | undefined>
  /** how many timed runs a median is of */
  runs: number
  /** a full-size count or size, smaller in a quick run */
  scaled(full: number): number
  /** a new folder */
  folder(name: string): string
  /** an mlv command line */
  mlv(...args: string[]): string[]
  /** whether a program of others is on PATH and wanted */
  has(peer: 'dvc' | 'git-lfs' | 'git-annex' | 'rclone' | 'aws' | 'openssl'): boolean
  close(): void
}

/** Node doing nothing: what every other Node program starts with. */
export const NODE_ALONE = [process.execPath, '-e', '0']

const MLV = fileURLToPath(new URL('../../bin/mlv.js', import.meta.url))

export interface BenchOptions {
  quick: boolean
  peers: boolean
  /** where the folder of this run is made */
  parent?: string
}

export function openBench(options: BenchOptions): Bench {
  const dir = realpathSync(mkdtempSync(join(resolve(options.parent ?? tmpdir()), 'mlv-bench-')))
  let folders = 0
  return {
    dir,
    env: isolatedEnv(join(dir, 'home')),
    runs: options.quick ? 1 : 5,
    scaled: (full) => (options.quick ? Math.max(1, Math.round(full / 50)) : full),
    folder(name) {
      const path = join(dir, `${++folders}-${name}`)
      mkdirSync(path)
      return path
    },
    mlv: (...args) => [process.execPath, MLV, ...args],
    has: (peer) => (peer === 'openssl' || options.peers) && findProgram(peer) !== undefined,
    close: () => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }),
  }
}

/** A measurement of one command. */
export function timed(bench: Bench, cwd: string, command: string[], before?: Timed['before']): Timed {
  return { commands: [command], cwd, env: bench.env, before }
}

function isolatedEnv(home: string): Bench['env'] {
  mkdirSync(home)
  writeFileSync(
    join(home, 'gitconfig'),
    '[user]\n\tname = Bench\n\temail = bench@example.org\n[init]\n\tdefaultBranch = main\n[commit]\n\tgpgSign = false\n[gc]\n\tauto = 0\n',
  )
  return {
    PATH: process.env.PATH,
    TMPDIR: process.env.TMPDIR,
    HOME: home,
    XDG_CONFIG_HOME: join(home, '.config'),
    GIT_CONFIG_GLOBAL: join(home, 'gitconfig'),
    GIT_CONFIG_NOSYSTEM: '1',
    AWS_EC2_METADATA_DISABLED: 'true',
    DVC_NO_ANALYTICS: 'true',
    LC_ALL: 'C.UTF-8',
  }
}

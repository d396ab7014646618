import { spawn } from 'node:child_process'
import {
  accessSync,
  appendFileSync,
  chmodSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

/** Another build or an installed package can stand in for this one. */
export const BIN = process.env.MLV_TEST_BIN || fileURLToPath(new URL('../../bin/mlv.js', import.meta.url))
const NODE = process.env.MLV_TEST_NODE || process.execPath

export interface CommandResult {
  /** 128 + the signal's number is not imitated: a killed process has -1 */
  exitCode: number
  stdout: string
  stderr: string
}

export interface RunOptions {
  env?: Record<string, string | undefined>
  /** relative to the repo's top */
  cwd?: string
  input?: string | Uint8Array
}

export interface RepoOptions {
  /** runs `mlv init` */
  init?: boolean
  /** commits the files (and what `mlv init` wrote) */
  commit?: boolean
  /** added to the environment of every command */
  env?: Record<string, string | undefined>
}

/** A git repo in a temp folder, apart from the user's git, mlv and AWS settings. */
export interface Repo {
  dir: string
  /** the environment its commands run in */
  env: Record<string, string | undefined>
  /** @returns stdout without the last newline; throws when git fails */
  git(...args: string[]): Promise<string>
  /** runs the built bin/mlv.js */
  mlv(...args: string[]): Promise<CommandResult>
  mlvWith(options: RunOptions, ...args: string[]): Promise<CommandResult>
  /** commits everything @returns the commit's id */
  commit(message?: string): Promise<string>
  path(path: string): string
  write(path: string, content: string | Uint8Array): void
  read(path: string): string
  exists(path: string): boolean
  /** clones it (`git clone` with `args`) into a new temp folder */
  clone(...args: string[]): Promise<Repo>
  /** a copy with everything that lies beside it (its home; a remote called ../NAME), times kept, in a new temp folder, which may be made ready first */
  copy(options?: FolderOptions & { makeReady?: (folder: string) => void }): Promise<Repo>
  cleanup(): void
}

/** Runs a program to its end; never throws because of its exit code. */
export function run(program: string, args: string[], options: RunOptions & { cwd: string }): Promise<CommandResult> {
  return new Promise((done, fail) => {
    const child = spawn(program, args, { cwd: options.cwd, env: options.env as NodeJS.ProcessEnv, stdio: 'pipe' })
    const out: Buffer[] = []
    const err: Buffer[] = []
    child.stdout.on('data', (chunk) => out.push(chunk))
    child.stderr.on('data', (chunk) => err.push(chunk))
    child.on('error', fail)
    child.on('close', (code) =>
      done({ exitCode: code ?? -1, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
    )
    // A program may end without reading its input.
    child.stdin.on('error', () => {})
    child.stdin.end(options.input ?? '')
  })
}

function makeDeletable(path: string): void {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (!stats?.isDirectory()) return
  chmodSync(path, 0o700)
  for (const name of readdirSync(path)) makeDeletable(join(path, name))
}

export interface FolderOptions {
  /** on a disk in memory, where there is one: for worlds by the hundred, of which no command has to meet a real disk */
  inMemory?: boolean
}

const MEMORY_DISK = '/dev/shm'
/** bytes; containers often have 64 MiB, which is too little */
const LEAST_MEMORY = 2 ** 30

function memoryFolder(): string | undefined {
  try {
    accessSync(MEMORY_DISK, constants.W_OK)
    const { bavail, bsize } = statfsSync(MEMORY_DISK)
    return bavail * bsize >= LEAST_MEMORY ? MEMORY_DISK : undefined
  } catch {
    // No such disk on this system, or not for this user.
    return undefined
  }
}

/** A temp folder, removed at the end of the test (read-only folders and files, too) when made inside one. */
export function makeFolder({ inMemory = false }: FolderOptions = {}): { dir: string; cleanup: () => void } {
  const above = (inMemory ? memoryFolder() : undefined) ?? tmpdir()
  const dir = realpathSync(mkdtempSync(join(above, 'mlv-test-')))
  const cleanup = () => {
    makeDeletable(dir)
    rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
  }
  try {
    onTestFinished(cleanup)
  } catch {
    // Outside a test: whoever made it calls cleanup.
  }
  return { dir, cleanup }
}

const GIT_CONFIG = `[user]
	name = Ada Test
	email = ada@example.org
[init]
	defaultBranch = main
[commit]
	gpgSign = false
[advice]
	detachedHead = false
[protocol "file"]
	allow = always
[gc]
	auto = 0
`

function isolatedEnv(home: string): Record<string, string | undefined> {
  mkdirSync(home, { recursive: true })
  writeFileSync(join(home, 'gitconfig'), GIT_CONFIG)
  return {
    PATH: process.env.PATH,
    TMPDIR: process.env.TMPDIR,
    HOME: home,
    USERPROFILE: home,
    XDG_CONFIG_HOME: join(home, '.config'),
    XDG_CACHE_HOME: join(home, '.cache'),
    GIT_CONFIG_GLOBAL: join(home, 'gitconfig'),
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    AWS_EC2_METADATA_DISABLED: 'true',
    LC_ALL: 'C.UTF-8',
  }
}

function openRepo(dir: string, env: Record<string, string | undefined>, cleanup: () => void): Repo {
  const path = (name: string) => resolve(dir, name)
  const repo: Repo = {
    dir,
    env,
    cleanup,
    path,
    async git(...args) {
      const result = await run('git', args, { cwd: dir, env })
      if (result.exitCode !== 0) throw new Error(`git ${args.join(' ')}: ${result.stderr}${result.stdout}`)
      return result.stdout.replace(/\n$/, '')
    },
    mlv: (...args) => repo.mlvWith({}, ...args),
    mlvWith: (options, ...args) =>
      run(NODE, [BIN, ...args], { cwd: path(options.cwd ?? '.'), env: { ...env, ...options.env }, input: options.input }),
    async commit(message = 'Change') {
      await repo.git('add', '-A')
      await repo.git('commit', '-q', '--allow-empty', '-m', message)
      return repo.git('rev-parse', 'HEAD')
    },
    write(name, content) {
      mkdirSync(dirname(path(name)), { recursive: true })
      writeFileSync(path(name), content)
    },
    read: (name) => readFileSync(path(name), 'utf8'),
    exists: (name) => existsSync(path(name)),
    async clone(...args) {
      const other = makeFolder()
      const target = join(other.dir, 'repo')
      await repo.git('clone', '-q', ...args, `file://${dir}`, target)
      return openRepo(target, env, other.cleanup)
    },
    async copy(options) {
      const other = makeFolder(options)
      options?.makeReady?.(other.dir)
      const copied = await run('cp', ['-a', `${dirname(dir)}/.`, other.dir], { cwd: dir, env })
      if (copied.exitCode !== 0) throw new Error(`cp: ${copied.stderr}`)
      const own = { ...env, ...isolatedEnv(join(other.dir, 'home')) }
      return openRepo(join(other.dir, basename(dir)), own, other.cleanup)
    },
  }
  return repo
}

/** A temp git repo on branch main that holds `files`; removed at the end of the test it is made in. */
export async function makeRepo(files: Record<string, string | Uint8Array> = {}, options: RepoOptions = {}): Promise<Repo> {
  const { dir: outer, cleanup } = makeFolder()
  const dir = join(outer, 'repo')
  mkdirSync(dir)
  const repo = openRepo(dir, { ...isolatedEnv(join(outer, 'home')), ...options.env }, cleanup)
  await repo.git('init', '-q', '-b', 'main')
  appendFileSync(join(dir, '.git', 'config'), '[user]\n\tname = Ada Test\n\temail = ada@example.org\n')
  for (const [name, content] of Object.entries(files)) repo.write(name, content)
  if (options.init) {
    const result = await repo.mlv('init')
    if (result.exitCode !== 0) throw new Error(`mlv init: ${result.stderr}`)
  }
  if (options.commit) await repo.commit('Start')
  return repo
}

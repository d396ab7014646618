import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { isAbsolute, relative, resolve } from 'node:path'
import { MlvError } from '../base/errors.ts'
import { findProgram } from '../base/find-program.ts'
import type { GitPlace } from './git.ts'

export type Environment = Record<string, string | undefined>

/** Runs git in one work tree. Arguments never come from users unless behind `--`. */
export interface GitProcess {
  readonly place: GitPlace
  /** Starts git and leaves its streams to the caller. */
  start(args: string[], options?: { globs?: boolean }): ChildProcessWithoutNullStreams
  /** Runs git to its end. `accept` lists exit codes beside 0 that are answers, not failures; `globs` lets pathspecs have wildcards and magic;
   *  with `onOutput`, output goes there piece by piece and the answer's stdout is empty.
   *  @throws GIT_FAILED with git's own first line */
  run(args: string[], options?: RunGitOptions): Promise<{ exitCode: number; stdout: Buffer }>
}

export interface RunGitOptions {
  input?: string | Uint8Array
  accept?: number[]
  globs?: boolean
  onOutput?: (chunk: Buffer) => void
}

/** Set by git for its hooks and by scripts; they would lead a command in one repository into another. */
const PLACE_VARIABLES = [
  'GIT_DIR',
  'GIT_WORK_TREE',
  'GIT_COMMON_DIR',
  'GIT_PREFIX',
  'GIT_NAMESPACE',
  'GIT_OBJECT_DIRECTORY',
  'GIT_ALTERNATE_OBJECT_DIRECTORIES',
  'GIT_SHALLOW_FILE',
  'GIT_GRAFT_FILE',
  'GIT_IMPLICIT_WORK_TREE',
  'GIT_GLOB_PATHSPECS',
  'GIT_NOGLOB_PATHSPECS',
  'GIT_ICASE_PATHSPECS',
]

/** A pre-commit hook of `git commit -a` sees the coming commit in an index file beside the usual one. */
function ownIndexFile(place: GitPlace, env: Environment): string | undefined {
  if (!env.GIT_INDEX_FILE) return undefined
  const path = resolve(place.workTree, env.GIT_INDEX_FILE)
  const inside = relative(place.gitDir, path)
  return inside.startsWith('..') || isAbsolute(inside) ? undefined : path
}

/** The environment git runs in: no prompt, no pager, English messages, no lock for what only reads, this work tree and no other. */
export function gitEnvironment(place: GitPlace, env: Environment): Environment {
  const own: Environment = { ...env }
  for (const name of PLACE_VARIABLES) delete own[name]
  // A bare repository is named, because users may forbid git to find one by itself (safe.bareRepository).
  if (place.workTree === place.gitDir) own.GIT_DIR = place.gitDir
  return {
    ...own,
    GIT_INDEX_FILE: ownIndexFile(place, env),
    GIT_OPTIONAL_LOCKS: '0',
    GIT_TERMINAL_PROMPT: '0',
    GIT_PAGER: 'cat',
    GIT_LITERAL_PATHSPECS: '1',
    // A hook would call mlv again, and wait for the lock that this mlv holds.
    MLV_SKIP_HOOKS: '1',
    LC_ALL: 'C',
    LANGUAGE: undefined,
  }
}

/** @returns the absolute path of git on `env.PATH`, or undefined */
export function findGitProgram(env: Environment): string | undefined {
  return findProgram(process.platform === 'win32' ? ['git.exe', 'git.cmd'] : ['git'], { env })
}

/** Turns what git wrote on stderr into one line and what to do about it. */
export function gitFailure(args: string[], stderr: string, place: GitPlace, cause?: unknown): MlvError {
  const lines = stderr.split('\n').filter((line) => line.trim() !== '' && !/^(warning|hint):/.test(line))
  const said = lines.find((line) => /^(fatal|error):/.test(line)) ?? lines[0] ?? 'it gave no reason'
  const verb = args.find((arg) => /^[a-z][a-z-]+$/.test(arg)) ?? 'git'
  if (/No space left on device|[Dd]isk quota exceeded/.test(stderr))
    return new MlvError('DISK_FULL', `The disk is full: git ${verb}: ${said.replace(/^(fatal|error): /, '')}`, {
      hint: 'Free some space, then run the command again.',
      cause,
    })
  const hint = stderr.includes('safe.directory')
    ? `If you trust its owner, run "git config --global --add safe.directory ${place.workTree}".`
    : /\.lock': File exists|index\.lock/.test(stderr)
      ? 'Wait for the other git to end; if none runs, delete the .lock file that it names.'
      : `Run "git status" in ${place.workTree} to see whether git is well.`
  return new MlvError('GIT_FAILED', `git ${verb}: ${said.replace(/^(fatal|error): /, '')}`, { hint, cause })
}

/** Makes a runner of the git at `program` for one work tree. */
export function createGitProcess(program: string, place: GitPlace, env: Environment): GitProcess {
  const literal = gitEnvironment(place, env) as NodeJS.ProcessEnv
  const globs: NodeJS.ProcessEnv = { ...literal, GIT_LITERAL_PATHSPECS: undefined }
  const start: GitProcess['start'] = (args, options = {}) =>
    spawn(program, args, { cwd: place.workTree, env: options.globs ? globs : literal, stdio: 'pipe', windowsHide: true })
  return {
    place,
    start,
    run: (args, options = {}) =>
      new Promise((done, fail) => {
        const child = start(args, options)
        const out: Buffer[] = []
        const err: Buffer[] = []
        child.stdout.on('data', options.onOutput ?? ((chunk: Buffer) => out.push(chunk)))
        child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
        child.on('error', (error) => fail(gitFailure(args, error.message, place, error)))
        child.on('close', (code) => {
          const exitCode = code ?? -1
          if (exitCode === 0 || options.accept?.includes(exitCode)) done({ exitCode, stdout: Buffer.concat(out) })
          else fail(gitFailure(args, Buffer.concat(err).toString(), place))
        })
        // git may end before it has read all: its exit code tells why.
        child.stdin.on('error', () => {})
        child.stdin.end(options.input ?? '')
      }),
  }
}

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { MlvError } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { isWithin } from '../base/paths.ts'
import { type Batch, openBatch } from './batch.ts'
import { parseCommit } from './commit-object.ts'
import type { Commit, CommitChanges, Git, GitFile, GitPlace, GitRef } from './git.ts'
import { createGitProcess, type Environment, type GitProcess } from './git-process.ts'
import { CHANGE_ARGUMENTS, createLogParser, LOG_ARGUMENTS } from './log-format.ts'
import { checkKey, headBranch, readShallow, shallowError } from './plumbing.ts'

function words(output: Buffer): string[] {
  const text = output.toString()
  return text === '' ? [] : text.replace(/\0$/, '').split('\0')
}

/** One process of `cat-file` per kind of question serves resolve, read, readBlobs, blobsAt and commits. */
function createObjects(git: GitProcess, batch: Batch, check: Batch) {
  const resolve = async (revision: string): Promise<string | undefined> => {
    // cat-file ends with an error where a branch has no upstream or a reflog is too short.
    if (revision.includes('@{')) {
      const args = ['rev-parse', '--quiet', '--verify', '--end-of-options', `${revision}^{commit}`]
      const { exitCode, stdout } = await git.run(args, { accept: [1, 128] })
      return exitCode === 0 ? stdout.toString().trim() : undefined
    }
    if (revision.trim() === '') return undefined
    const object = await batch.ask(`${revision}^{commit}`)
    return object?.type === 'commit' ? object.id : undefined
  }
  const blobAt = async (commit: string, path: string): Promise<string | undefined> => {
    if (!path.includes('\n')) {
      const object = await check.ask(`${commit}:${path}`)
      return object?.type === 'blob' ? object.id : undefined
    }
    return (await list(commit, path)).find((file) => file.path === path)?.blob
  }
  const list = async (commit: string, folder: string): Promise<GitFile[]> => {
    const { stdout } = await git.run(['ls-tree', '-r', '-z', '--full-tree', '--', commit, ...(folder === '' ? [] : [folder])])
    return words(stdout).map((line) => {
      const [mode, , blob] = line.slice(0, line.indexOf('\t')).split(' ') as [string, string, string]
      return { path: line.slice(line.indexOf('\t') + 1), blob, mode }
    })
  }
  const blob = async (name: string): Promise<Uint8Array | undefined> => {
    const object = await batch.ask(name)
    return object?.type === 'blob' ? object.bytes : undefined
  }
  const read = async (commit: string, path: string): Promise<Uint8Array | undefined> => {
    if (!path.includes('\n')) return blob(`${commit}:${path}`)
    const id = await blobAt(commit, path)
    return id === undefined ? undefined : blob(id)
  }
  return { resolve, blobAt, list, read, blob }
}

/** The commits of names that must all lead to one. @throws REVISION_UNKNOWN */
async function commitIds(names: string[], resolve: Git['resolve']): Promise<string[]> {
  return Promise.all(
    names.map(async (name) => {
      const id = /^[0-9a-f]{40,64}$/.test(name) ? name : await resolve(name)
      if (id !== undefined) return id
      throw new MlvError('REVISION_UNKNOWN', `git knows no commit "${name}"`, { hint: 'See "git branch -a" and "git tag".' })
    }),
  )
}

function parseRefs(output: Buffer): (GitRef & { type: string })[] {
  const lines = output.toString().split('\n').filter(Boolean)
  return lines.map((line) => {
    const [name, type, id, peeledType, peeled] = line.split(' ') as [string, string, string, string, string]
    return type === 'tag' ? { name, type: peeledType, commit: peeled } : { name, type, commit: id }
  })
}

/** Paths that stand in the work tree, from `ls-files -t -s -c -o -d`. */
function parseVisible(output: Buffer): string[] {
  const present = new Set<string>()
  const gone = new Set<string>()
  for (const line of words(output)) {
    const tag = line[0]
    if (tag === '?') {
      // A folder with a slash is another repository's work tree.
      if (!line.endsWith('/')) present.add(line.slice(2))
      continue
    }
    const path = line.slice(line.indexOf('\t') + 1)
    if (tag === 'R') gone.add(path)
    else if (tag !== 'S' && !line.startsWith('160000 ', 2)) present.add(path)
  }
  return [...present].filter((path) => !gone.has(path))
}

/** The port over the git program. Each verb is one process at most; object reads share one. */
export function openBinaryGit(program: string, place: GitPlace, env: Environment): Git {
  const git = createGitProcess(program, place, env)
  const batch = openBatch(git, '--batch')
  const check = openBatch(git, '--batch-check')
  const objects = createObjects(git, batch, check)

  const walk = async (
    args: string[],
    from: string[],
    options: { not?: string[]; limit?: number; paths?: string[] },
  ): Promise<CommitChanges[]> => {
    if (from.length === 0) return []
    const [wanted, unwanted] = await Promise.all([
      commitIds(from, objects.resolve),
      commitIds(options.not ?? [], objects.resolve),
    ])
    const limit = options.limit === undefined ? [] : [`--max-count=${Math.trunc(options.limit)}`]
    const input = `${[...wanted, ...unwanted.map((id) => `^${id}`)].join('\n')}\n`
    const commits: CommitChanges[] = []
    const parser = createLogParser((commit) => commits.push(commit))
    await git.run([...LOG_ARGUMENTS, ...args, ...limit, '--stdin', '--', ...(options.paths ?? [])], {
      input,
      globs: true,
      onOutput: parser.write,
    })
    parser.end()
    return commits
  }

  return {
    place,
    resolve: objects.resolve,
    read: objects.read,
    list: (commit, folder = '') => objects.list(commit, folder),
    mergeBase: async (a, b) => {
      const ids = await commitIds([a, b], objects.resolve)
      const { stdout } = await git.run(['merge-base', ...ids], { accept: [1] })
      const base = stdout.toString().trim()
      if (base !== '') return base
      if (readShallow(place).size > 0) throw shallowError(a, b)
      return undefined
    },
    readBlobs: async (blobs) => {
      const ids = [...new Set(blobs)]
      const found = await batch.askAll(ids)
      return new Map(ids.flatMap((id, i) => (found[i]?.type === 'blob' ? [[id, found[i].bytes] as const] : [])))
    },
    blobsAt: async (requests) => {
      const found = await check.askAll(requests.map(({ commit, path }) => `${commit}:${path}`))
      const strange = (path: string) => path.includes('\n')
      const slow = requests.map(({ commit, path }) => (strange(path) ? objects.blobAt(commit, path) : undefined))
      return Promise.all(requests.map((_request, i) => slow[i] ?? (found[i]?.type === 'blob' ? found[i].id : undefined)))
    },
    commits: async (ids) => {
      const wanted = [...new Set(ids)]
      const shallow = readShallow(place)
      const found = await batch.askAll(wanted)
      return new Map(
        found.flatMap((object, i) =>
          object?.type === 'commit' ? [[wanted[i]!, parseCommit(object.id, object.bytes, shallow.has(object.id))] as const] : [],
        ),
      )
    },
    log: async (from, options = {}) => {
      const commits = await walk(['--no-patch', ...(options.firstParent ? ['--first-parent'] : [])], from, options)
      return commits.map(({ changed: _none, ...commit }): Commit => commit)
    },
    // Pathspecs would drop commits and rewrite history; --full-history --sparse keeps every commit, and only changes are limited.
    logChanges: (from, options = {}) =>
      walk([...CHANGE_ARGUMENTS, ...(options.paths?.length ? ['--full-history', '--sparse'] : [])], from, options),
    refs: async (prefix = '') => {
      const format = '%(refname) %(objecttype) %(objectname) %(*objecttype) %(*objectname)'
      const folder = prefix.slice(0, prefix.lastIndexOf('/'))
      const { stdout } = await git.run([
        'for-each-ref',
        `--format=${format}`,
        '--',
        ...(folder.startsWith('refs/') ? [folder] : []),
      ])
      const refs = parseRefs(stdout).filter((ref) => ref.name.startsWith(prefix))
      const peeled = await Promise.all(
        // A tag of a tag: one level is not enough.
        refs.map(async ({ name, type, commit }) => ({
          name,
          type,
          commit: type === 'tag' ? await objects.resolve(commit) : commit,
        })),
      )
      return peeled.flatMap(({ name, type, commit }) =>
        (type === 'commit' || type === 'tag') && commit ? [{ name, commit }] : [],
      )
    },
    branch: async () => {
      const found = headBranch(readFileSync(join(place.gitDir, 'HEAD'), 'utf8'))
      if (found !== 'elsewhere') return found
      const { exitCode, stdout } = await git.run(['symbolic-ref', '--quiet', '--short', 'HEAD'], { accept: [1] })
      return exitCode === 0 ? stdout.toString().trim() : undefined
    },
    isShallow: async () => readShallow(place).size > 0,
    config: async (key) => {
      const { exitCode, stdout } = await git.run(['config', '-z', '--get', checkKey(key)], { accept: [1] })
      return exitCode === 0 ? stdout.toString().replace(/\0$/, '') : undefined
    },
    tracked: async (path) => {
      const { stdout } = await git.run(['ls-files', '-z', '--', ...(path === '' ? [] : [path])])
      // Unmerged paths stand there once per side.
      return [...new Set(words(stdout))].filter((found) => isWithin(found, path))
    },
    visible: async (path) => {
      const args = ['ls-files', '-z', '-t', '-s', '--cached', '--others', '--deleted', '--exclude-standard', '--']
      const { stdout } = await git.run([...args, ...(path === '' ? [] : [path])])
      return parseVisible(stdout)
    },
    untrack: async (paths) => {
      if (paths.length === 0) return
      faultPoint('git: untrack')
      const args = ['rm', '--cached', '-r', '-f', '-q', '--ignore-unmatch', '--pathspec-from-file=-', '--pathspec-file-nul']
      await git.run(args, { input: paths.join('\0') })
    },
    stage: async (paths) => {
      if (paths.length === 0) return
      await git.run(['add', '--pathspec-from-file=-', '--pathspec-file-nul'], { input: paths.join('\0') })
    },
    close: () => {
      batch.close()
      check.close()
    },
  }
}

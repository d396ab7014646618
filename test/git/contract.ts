import { mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Commit, Git, GitPlace } from '../../src/git/git.ts'
import { findGit } from '../../src/git/place.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'

type OpenGit = (place: GitPlace, env: Record<string, string | undefined>) => Promise<Git>

const STRANGE = [
  'with space.txt',
  'tab\there',
  'new\nline',
  'quote"\'s',
  'emoji 🎈.csv',
  'ünïcode/ñ',
  '-dash',
  ':colon',
  'star*[a]?',
  '#hash',
  'back\\slash',
]

/** A history with a merge, a rename, a deletion, tags and branches; each commit a minute after the one before. */
async function makeHistory() {
  const repo = await makeRepo()
  let minute = 0
  const ids: Record<string, string> = {}
  const stamp = () => {
    const date = `${1_700_000_000 + minute++ * 60} +0100`
    Object.assign(repo.env, { GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date })
  }
  const commit = async (name: string, message = name) => {
    stamp()
    ids[name] = await repo.commit(message)
  }
  repo.write('params.yaml', 'lr: 1\n')
  repo.write('sub/metrics.json', '{}')
  for (const name of STRANGE) repo.write(name, `I am ${name}`)
  await commit('root', 'root: begin\nsecond line\n\nbody')
  repo.write('params.yaml', 'lr: 2\n')
  repo.write('gone.txt', 'x')
  await commit('second')
  await repo.git('tag', 'light')
  await repo.git('tag', '-a', 'v1', '-m', 'first release')
  await repo.git('tag', '-a', 'v1-again', '-m', 'tag of a tag', 'v1')
  await repo.git('switch', '-q', '-c', 'exp/lr')
  repo.write('params.yaml', 'lr: 3\n')
  await commit('side')
  await repo.git('switch', '-q', 'main')
  rmSync(repo.path('gone.txt'))
  repo.write('sub/metrics.json', '{"a": 1}')
  await commit('third')
  stamp()
  await repo.git('merge', '-q', '--no-ff', '-m', 'merge side', 'exp/lr')
  ids.merge = await repo.git('rev-parse', 'HEAD')
  rmSync(repo.path('sub'), { recursive: true })
  repo.write('sub', 'now a file')
  symlinkSync('params.yaml', repo.path('link'))
  await commit('last')
  return { repo, ids: ids as Record<'root' | 'second' | 'side' | 'third' | 'merge' | 'last', string> }
}

/** What every implementation of the port Git promises, on real repositories. */
export function describeGit(name: string, open: OpenGit): void {
  describe(`${name}: a history with a merge`, () => {
    let repo: Repo
    let ids: Awaited<ReturnType<typeof makeHistory>>['ids']
    let git: Git
    beforeAll(async () => {
      ;({ repo, ids } = await makeHistory())
      git = await open(findGit(repo.dir)!, repo.env)
    })
    afterAll(() => {
      git.close()
      repo.cleanup()
    })

    it.each([
      ['HEAD', 'last'],
      ['@', 'last'],
      ['main', 'last'],
      ['refs/heads/main', 'last'],
      ['heads/main', 'last'],
      ['exp/lr', 'side'],
      ['light', 'second'],
      ['v1', 'second'],
      ['v1-again', 'second'],
      ['v1^{commit}', 'second'],
      ['v1^{}', 'second'],
      ['v1^0', 'second'],
      ['HEAD~1', 'merge'],
      ['HEAD^', 'merge'],
      ['HEAD~', 'merge'],
      ['main~1^2', 'side'],
      ['HEAD~2', 'third'],
      ['@~2^', 'second'],
    ] as const)('resolves %s', async (revision, commit) => {
      expect(await git.resolve(revision)).toBe(ids[commit])
    })

    it('resolves full and short ids, and what git describe prints', async () => {
      expect(await git.resolve(ids.side)).toBe(ids.side)
      expect(await git.resolve(ids.side.slice(0, 8))).toBe(ids.side)
      expect(await git.resolve(await repo.git('describe'))).toBe(ids.last)
    })

    it.each([
      'nothing',
      '',
      ' ',
      'HEAD~99',
      'HEAD^3',
      'main..exp/lr',
      '--all',
      '-h',
      '../../HEAD',
      'main\nHEAD',
      '@{upstream}',
      'main@{u}',
      'nothing@{u}',
      '0000000000000000000000000000000000000000',
      'deadbeef',
      'v1^{tree}',
      'HEAD:params.yaml',
      '~',
      '^',
      '^main',
      'a b',
      '😀',
    ])('finds no commit called %j, and answers on', async (revision) => {
      expect(await git.resolve(revision)).toBeUndefined()
      expect(await git.resolve('HEAD')).toBe(ids.last)
    })

    it('finds no commit by the id of a file', async () => {
      const [blob] = await git.blobsAt([{ commit: ids.root, path: 'params.yaml' }])
      expect(await git.resolve(blob!)).toBeUndefined()
    })

    it.each([['params.yaml', 'lr: 1\n'], ['sub/metrics.json', '{}'], ...STRANGE.map((path) => [path, `I am ${path}`])])(
      'reads %j at the first commit',
      async (path, text) => {
        expect(Buffer.from((await git.read(ids.root, path!))!).toString()).toBe(text)
      },
    )

    it.each(['nothing', 'sub', 'sub/nothing', 'params.yaml/below', 'no\nfile', 'gone.txt'])(
      'reads nothing at %j',
      async (path) => {
        expect(await git.read(ids.root, path)).toBeUndefined()
      },
    )

    it('reads a link as the place it names', async () => {
      expect(Buffer.from((await git.read(ids.last, 'link'))!).toString()).toBe('params.yaml')
    })

    it('reads many blobs and leaves out the ones that are missing', async () => {
      const wanted = [
        { commit: ids.root, path: 'params.yaml' },
        { commit: ids.second, path: 'params.yaml' },
        { commit: ids.root, path: 'nothing' },
        { commit: ids.root, path: 'new\nline' },
        { commit: ids.root, path: 'sub' },
      ]
      const blobs = await git.blobsAt(wanted)
      expect(blobs.map((blob) => blob !== undefined)).toEqual([true, true, false, true, false])
      const missing = 'e'.repeat(40)
      const found = await git.readBlobs([blobs[0]!, blobs[1]!, blobs[0]!, missing])
      expect([...found.keys()].sort()).toEqual([blobs[0]!, blobs[1]!].sort())
      expect(Buffer.from(found.get(blobs[1]!)!).toString()).toBe('lr: 2\n')
      expect(await git.readBlobs([])).toEqual(new Map())
    })

    it('answers thousands of requests in their order', async () => {
      const kinds = [
        { commit: ids.root, path: 'params.yaml' },
        { commit: ids.root, path: 'nothing' },
        { commit: ids.second, path: 'params.yaml' },
        { commit: ids.root, path: 'new\nline' },
        { commit: ids.last, path: '' },
      ]
      const few = await git.blobsAt(kinds)
      const many = await git.blobsAt(Array.from({ length: 2000 }, (_, i) => kinds[i % 5]!))
      expect(many).toEqual(Array.from({ length: 2000 }, (_, i) => few[i % 5]))
      const missing = Array.from({ length: 1000 }, (_, i) => i.toString(16).padStart(40, '0'))
      expect(await git.readBlobs([...missing, few[0]!])).toEqual(new Map([[few[0], Buffer.from('lr: 1\n')]]))
      expect([...(await git.commits([...missing, few[0]!, ids.side, ids.root])).keys()]).toEqual([ids.side, ids.root])
    })

    it('lists a commit, a folder of it, and a file of it', async () => {
      const all = (await git.list(ids.root)).map((file) => file.path)
      expect(all.sort()).toEqual(['params.yaml', 'sub/metrics.json', ...STRANGE].sort())
      expect(await git.list(ids.root, 'sub')).toEqual([
        { path: 'sub/metrics.json', mode: '100644', blob: expect.stringMatching(/^[0-9a-f]{40}$/) },
      ])
      expect((await git.list(ids.root, 'params.yaml')).map((file) => file.path)).toEqual(['params.yaml'])
      expect((await git.list(ids.last)).find((file) => file.path === 'link')?.mode).toBe('120000')
      expect(await git.list(ids.root, 'nothing')).toEqual([])
      expect(await git.list(ids.root, 'star*')).toEqual([])
    })

    const subjects = (commits: Commit[]) => commits.map((commit) => commit.subject)

    it('logs newest first, without what is not wanted', async () => {
      expect(subjects(await git.log([ids.last]))).toEqual([
        'last',
        'merge side',
        'third',
        'side',
        'second',
        'root: begin second line',
      ])
      expect(subjects(await git.log([ids.last], { not: [ids.second] }))).toEqual(['last', 'merge side', 'third', 'side'])
      expect(subjects(await git.log([ids.last], { limit: 2 }))).toEqual(['last', 'merge side'])
      expect(subjects(await git.log([ids.last], { firstParent: true }))).toEqual([
        'last',
        'merge side',
        'third',
        'second',
        'root: begin second line',
      ])
      expect(subjects(await git.log(['exp/lr', 'main'], { not: ['v1'] }))).toEqual(['last', 'merge side', 'third', 'side'])
      expect(await git.log([])).toEqual([])
    })

    it('says who made a commit and when', async () => {
      const merge = (await git.log([ids.merge], { limit: 1 }))[0]!
      const person = { name: 'Ada Test', email: 'ada@example.org', time: (1_700_000_000 + 4 * 60) * 1000 }
      expect(merge).toEqual({
        id: ids.merge,
        parents: [ids.third, ids.side],
        author: person,
        committer: person,
        subject: 'merge side',
      })
      expect(await git.commits([ids.merge, ids.merge, 'f'.repeat(40)])).toEqual(new Map([[ids.merge, merge]]))
    })

    it('refuses to log a name that leads nowhere', async () => {
      await expect(git.log(['nothing'])).rejects.toMatchObject({ code: 'REVISION_UNKNOWN' })
      await expect(git.log(['HEAD'], { not: ['--all'] })).rejects.toMatchObject({ code: 'REVISION_UNKNOWN' })
    })

    const paths = (changed: { path: string; blob: string | undefined }[]) =>
      changed.map(({ path, blob }) => `${blob === undefined ? '-' : '+'}${path}`).sort()

    it('tells what each commit changed against its first parent', async () => {
      const commits = await git.logChanges(['main'])
      expect(commits.map(({ id }) => id)).toEqual([ids.last, ids.merge, ids.third, ids.side, ids.second, ids.root])
      const changed = commits.map((commit) => paths(commit.changed))
      expect(changed.slice(0, 5)).toEqual([
        ['+link', '+sub', '-sub/metrics.json'],
        ['+params.yaml'],
        ['+sub/metrics.json', '-gone.txt'],
        ['+params.yaml'],
        ['+gone.txt', '+params.yaml'],
      ])
      expect(changed[5]).toEqual(['+params.yaml', '+sub/metrics.json', ...STRANGE.map((path) => `+${path}`)].sort())
      const blob = commits[1]!.changed[0]!.blob!
      expect(Buffer.from((await git.readBlobs([blob])).get(blob)!).toString()).toBe('lr: 3\n')
    })

    it('limits the changes, not the commits, by pathspecs', async () => {
      const changes = async (...specs: string[]) => {
        const commits = await git.logChanges(['main'], { paths: specs })
        expect(commits.map(({ id, parents }) => [id, parents.length])).toEqual([
          [ids.last, 1],
          [ids.merge, 2],
          [ids.third, 1],
          [ids.side, 1],
          [ids.second, 1],
          [ids.root, 0],
        ])
        return commits.map((commit) => paths(commit.changed).join(' '))
      }
      expect(await changes('params.yaml')).toEqual(['', '+params.yaml', '', '+params.yaml', '+params.yaml', '+params.yaml'])
      expect(await changes('sub/', 'gone.txt')).toEqual([
        '-sub/metrics.json',
        '',
        '+sub/metrics.json -gone.txt',
        '',
        '+gone.txt',
        '+sub/metrics.json',
      ])
      expect(await changes('*.json')).toEqual(['-sub/metrics.json', '', '+sub/metrics.json', '', '', '+sub/metrics.json'])
      expect(await changes(':(glob)*.json')).toEqual(['', '', '', '', '', ''])
      expect(await changes(':(glob)**/metrics.json', ':(literal)star*[a]?')).toEqual([
        '-sub/metrics.json',
        '',
        '+sub/metrics.json',
        '',
        '',
        '+star*[a]? +sub/metrics.json',
      ])
      expect((await changes(':!*', ':(top)params.yaml'))[5]).toBe('')
    })

    it('finds the merge base', async () => {
      expect(await git.mergeBase('main', 'exp/lr')).toBe(ids.side)
      expect(await git.mergeBase(ids.third, ids.side)).toBe(ids.second)
      expect(await git.mergeBase(ids.root, ids.root)).toBe(ids.root)
      await expect(git.mergeBase('main', 'nothing')).rejects.toMatchObject({ code: 'REVISION_UNKNOWN' })
    })

    it('lists refs, tags peeled, loose or packed', async () => {
      const all = [
        { name: 'refs/heads/exp/lr', commit: ids.side },
        { name: 'refs/heads/main', commit: ids.last },
        { name: 'refs/tags/light', commit: ids.second },
        { name: 'refs/tags/v1', commit: ids.second },
        { name: 'refs/tags/v1-again', commit: ids.second },
      ]
      expect(await git.refs()).toEqual(all)
      expect(await git.refs('refs/heads/exp/')).toEqual(all.slice(0, 1))
      expect((await git.refs('refs/tags/v')).map(({ name }) => name)).toEqual(['refs/tags/v1', 'refs/tags/v1-again'])
      await repo.git('pack-refs', '--all')
      await repo.git('gc', '-q')
      const fresh = await open(findGit(repo.dir)!, repo.env)
      expect(await fresh.refs()).toEqual(all)
      expect(await fresh.resolve('v1')).toBe(ids.second)
      expect(await fresh.resolve(ids.side.slice(0, 9))).toBe(ids.side)
      expect(Buffer.from((await fresh.read(ids.root, 'params.yaml'))!).toString()).toBe('lr: 1\n')
      fresh.close()
    })

    it('is not misled by the user’s own settings', async () => {
      const settings = {
        'log.showSignature': 'true',
        'diff.renames': 'copies',
        'diff.noprefix': 'true',
        'color.ui': 'always',
        'log.follow': 'true',
        'log.date': 'iso',
        'diff.relative': 'true',
      }
      for (const [key, value] of Object.entries(settings)) await repo.git('config', key, value)
      expect((await git.logChanges(['HEAD'], { limit: 1 }))[0]).toMatchObject({ id: ids.last, subject: 'last' })
      expect(paths((await git.logChanges(['HEAD'], { paths: ['params.yaml'] }))[1]!.changed)).toEqual(['+params.yaml'])
      for (const key of Object.keys(settings)) await repo.git('config', '--unset', key)
    })
  })

  describe(`${name}: the work tree and the index`, () => {
    const opened: Git[] = []
    const openAt = async (dir: string, env: Repo['env']) => {
      const git = await open(findGit(dir)!, env)
      opened.push(git)
      return git
    }
    afterAll(() => {
      for (const git of opened) git.close()
    })

    it('answers in a repository without a commit', async () => {
      const repo = await makeRepo({ a: '1' })
      const git = await openAt(repo.dir, repo.env)
      expect(await git.resolve('HEAD')).toBeUndefined()
      expect(await git.branch()).toBe('main')
      expect(await git.refs()).toEqual([])
      expect(await git.tracked('')).toEqual([])
      expect(await git.visible('')).toEqual(['a'])
      expect(await git.isShallow()).toBe(false)
    })

    it('knows the branch, and that a detached HEAD has none', async () => {
      const repo = await makeRepo({ a: '1' }, { commit: true })
      const git = await openAt(repo.dir, repo.env)
      await repo.git('switch', '-q', '-c', 'exp/a b'.replace(' ', '-'))
      expect(await git.branch()).toBe('exp/a-b')
      await repo.git('switch', '-q', '--detach')
      expect(await git.branch()).toBeUndefined()
      expect(await git.resolve('HEAD')).toBe(await repo.git('rev-parse', 'main'))
    })

    it('reads settings', async () => {
      const repo = await makeRepo()
      const git = await openAt(repo.dir, repo.env)
      await repo.git('config', 'remote.origin.url', 'https://example.org/a b.git')
      expect(await git.config('remote.origin.url')).toBe('https://example.org/a b.git')
      expect(await git.config('remote.nowhere.url')).toBeUndefined()
      await expect(git.config('--list')).rejects.toMatchObject({ code: 'GIT_FAILED' })
    })

    it('leads @{upstream} to the branch on the remote', async () => {
      const origin = await makeRepo({ a: '1' }, { commit: true })
      const clone = await origin.clone()
      clone.write('b', '2')
      await clone.commit()
      const git = await openAt(clone.dir, clone.env)
      const upstream = await origin.git('rev-parse', 'main')
      for (const revision of ['@{upstream}', '@{u}', 'main@{upstream}', 'origin/main', 'origin', 'HEAD~1'])
        expect(await git.resolve(revision)).toBe(upstream)
      expect((await git.log(['HEAD'], { not: ['@{upstream}'] })).length).toBe(1)
    })

    it('tells tracked files from visible ones', async () => {
      const repo = await makeRepo({
        '.gitignore': '*.log\n/out/\n!keep.log\n',
        'a.txt': '1',
        'd/b.txt': '2',
        'd/deleted.txt': '3',
        'd/forced.log': '4',
        'dd/other': '5',
      })
      await repo.commit()
      await repo.git('add', '-f', 'd/forced.log')
      rmSync(repo.path('d/deleted.txt'))
      repo.write('d/new.txt', 'x')
      repo.write('d/keep.log', 'x')
      repo.write('d/skip.log', 'x')
      repo.write('out/big.bin', 'x')
      repo.write('e/.gitignore', 'x*\n!xy\n')
      for (const path of ['e/x1', 'e/xy', 'e/f/x2', 'e/f/y', 'new\nline']) repo.write(path, 'x')
      const inner = await makeRepo({ inside: 'x' }, { commit: true })
      await repo.git('clone', '-q', inner.dir, repo.path('nested'))
      const git = await openAt(repo.dir, repo.env)
      expect((await git.tracked('')).sort()).toEqual([
        '.gitignore',
        'a.txt',
        'd/b.txt',
        'd/deleted.txt',
        'd/forced.log',
        'dd/other',
      ])
      expect((await git.tracked('d')).sort()).toEqual(['d/b.txt', 'd/deleted.txt', 'd/forced.log'])
      expect(await git.tracked('a.txt')).toEqual(['a.txt'])
      expect(await git.tracked('*')).toEqual([])
      expect((await git.visible('')).sort()).toEqual(
        [
          '.gitignore',
          'a.txt',
          'd/b.txt',
          'd/forced.log',
          'd/keep.log',
          'd/new.txt',
          'dd/other',
          'e/.gitignore',
          'e/f/y',
          'e/xy',
          'new\nline',
        ].sort(),
      )
      expect((await git.visible('d')).sort()).toEqual(['d/b.txt', 'd/forced.log', 'd/keep.log', 'd/new.txt'])
      expect(await git.visible('d/new.txt')).toEqual(['d/new.txt'])
      expect(await git.visible('out')).toEqual([])
      expect(await git.visible('d/skip.log')).toEqual([])
      expect(await git.visible('nothing')).toEqual([])
    })

    it('takes paths out of the index and leaves the files', async () => {
      const repo = await makeRepo({ 'data/a': '1', 'data/b*': '2', 'data/bc': '3', 'data-2/c': '4' }, { commit: true })
      const git = await openAt(repo.dir, repo.env)
      repo.write('data/a', 'changed')
      await repo.git('add', 'data/a')
      repo.write('data/a', 'changed again')
      await git.untrack(['data/a', 'data/b*', 'nothing'])
      expect(await git.tracked('')).toEqual(['data-2/c', 'data/bc'])
      await git.untrack(['data'])
      await git.untrack([])
      expect(await repo.git('ls-files')).toBe('data-2/c')
      expect(repo.read('data/a')).toBe('changed again')
    })

    it('stages new, changed and deleted files', async () => {
      const repo = await makeRepo({ 'a b': '1', gone: '2', '.gitignore': 'ignored\n' }, { commit: true })
      const git = await openAt(repo.dir, repo.env)
      repo.write('a b', 'changed')
      repo.write('-new', 'x')
      repo.write('*', 'x')
      repo.write('other', 'x')
      repo.write('ignored', 'x')
      rmSync(repo.path('gone'))
      await git.stage(['a b', '-new', '*', 'gone'])
      await git.stage([])
      expect(await repo.git('status', '--porcelain', '-z')).toBe('A  *\0A  -new\0M  a b\0D  gone\0?? other\0')
      await expect(git.stage(['nothing'])).rejects.toMatchObject({ code: 'GIT_FAILED' })
      await expect(git.stage(['ignored'])).rejects.toMatchObject({
        code: 'GIT_FAILED',
        message: expect.stringContaining('ignored'),
      })
      expect(await repo.git('fsck')).toBe('')
    })

    it('serves a linked worktree: its own HEAD and index, the shared refs and objects', async () => {
      const repo = await makeRepo({ a: '1' }, { commit: true })
      const other = join(makeFolder().dir, 'other')
      await repo.git('worktree', 'add', '-q', '-b', 'side', other)
      const git = await openAt(other, repo.env)
      expect(await git.branch()).toBe('side')
      repo.write(join(other, 'b'), '2')
      await git.stage(['b'])
      expect(await git.tracked('')).toEqual(['a', 'b'])
      expect(await repo.git('ls-files')).toBe('a')
      await repo.git('-C', other, 'commit', '-q', '-m', 'in the worktree')
      const tip = await repo.git('rev-parse', 'side')
      const again = await openAt(other, repo.env)
      expect(await again.resolve('HEAD')).toBe(tip)
      expect(await again.resolve('main')).toBe(await repo.git('rev-parse', 'main'))
      expect((await again.refs('refs/heads/')).map(({ name }) => name)).toEqual(['refs/heads/main', 'refs/heads/side'])
      expect(Buffer.from((await again.read(tip, 'b'))!).toString()).toBe('2')
      await again.untrack(['b'])
      expect(await again.tracked('')).toEqual(['a'])
    })

    it('says where a shallow clone keeps it from a merge base', async () => {
      const origin = await makeRepo({ a: '1' })
      await origin.commit('one')
      await origin.commit('two')
      await origin.git('switch', '-q', '-c', 'side', 'HEAD~1')
      await origin.commit('three')
      const clone = await origin.clone('--depth', '1', '--no-single-branch')
      const git = await openAt(clone.dir, clone.env)
      expect(await git.isShallow()).toBe(true)
      expect((await git.log(['HEAD'])).map(({ subject, parents }) => [subject, parents])).toEqual([['three', []]])
      expect((await git.logChanges(['HEAD']))[0]!.changed.map(({ path }) => path)).toEqual(['a'])
      expect([...(await git.commits([(await git.resolve('HEAD'))!])).values()][0]!.parents).toEqual([])
      await expect(git.mergeBase('origin/main', 'HEAD')).rejects.toMatchObject({
        code: 'GIT_SHALLOW',
        hint: expect.stringMatching(/git fetch --unshallow.*fetch-depth: 0/),
      })
      await clone.git('fetch', '-q', '--unshallow')
      const whole = await openAt(clone.dir, clone.env)
      expect(await whole.mergeBase('origin/main', 'HEAD')).toBe(await origin.git('merge-base', 'main', 'side'))
    })

    it('finds no merge base of histories that never met', async () => {
      const repo = await makeRepo({ a: '1' }, { commit: true })
      await repo.git('switch', '-q', '--orphan', 'apart')
      await repo.commit('apart')
      const git = await openAt(repo.dir, repo.env)
      expect(await git.mergeBase('main', 'apart')).toBeUndefined()
    })

    it('reads a commit in an older encoding', async () => {
      const repo = await makeRepo({ a: '1' })
      await repo.git('add', '-A')
      repo.write('message', Buffer.from('größer\n', 'latin1'))
      await repo.git('-c', 'i18n.commitEncoding=ISO-8859-1', 'commit', '-q', '-F', 'message')
      const git = await openAt(repo.dir, repo.env)
      expect((await git.log(['HEAD']))[0]!.subject).toBe('größer')
      const id = (await git.resolve('HEAD'))!
      expect((await git.commits([id])).get(id)!.subject).toBe('größer')
    })

    it('reads files of any size and any bytes', async () => {
      const big = Buffer.alloc(3_000_000, 'line\n')
      const zeros = Buffer.from([0, 10, 0, 10, 255])
      const repo = await makeRepo({ big, zeros, empty: '' })
      const commit = await repo.commit()
      const git = await openAt(repo.dir, repo.env)
      const found = await Promise.all(['big', 'zeros', 'empty', 'none', 'zeros'].map((path) => git.read(commit, path)))
      expect(Buffer.from(found[0]!).equals(big)).toBe(true)
      expect([...found[1]!]).toEqual([...zeros])
      expect(found[2]!.length).toBe(0)
      expect(found[3]).toBeUndefined()
      expect([...found[4]!]).toEqual([...zeros])
    })

    it('fails with a word of git and a hint where a repository is broken', async () => {
      const repo = await makeRepo({ a: '1' }, { commit: true })
      const git = await openAt(repo.dir, repo.env)
      rmSync(repo.path('.git/objects'), { recursive: true })
      mkdirSync(repo.path('.git/objects'))
      await expect(git.log([await repo.git('rev-parse', 'main')])).rejects.toMatchObject({
        code: 'GIT_FAILED',
        hint: expect.any(String),
      })
    })
  })
}

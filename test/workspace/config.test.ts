import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { hasCode, type MlvError } from '../../src/base/errors.ts'
import type { Config } from '../../src/workspace/config.ts'
import { editConfig } from '../../src/workspace/edit-config.ts'
import { addRemote, modifyRemote, removeRemote, setDefaultRemote } from '../../src/workspace/edit-remotes.ts'
import { type ConfigPlace, openConfig } from '../../src/workspace/open-config.ts'
import { parsePlainConfig } from '../../src/workspace/plain-config.ts'

const made: string[] = []
afterEach(() => {
  for (const root of made.splice(0)) rmSync(root, { recursive: true, force: true })
})

interface World extends ConfigPlace {
  root: string
  homeDir: string
  warnings: string[]
  open(): Promise<Config>
  read(file: keyof typeof FILES): string
}
const FILES = { project: 'repo/.mlv/config', local: 'repo/.git/mlv/config', user: 'home/.config/mlv/config' }

function world(texts: Partial<Record<keyof typeof FILES, string>> = {}, env: Record<string, string> = {}): World {
  const top = realpathSync(mkdtempSync(join(tmpdir(), 'mlv-config-')))
  made.push(top)
  mkdirSync(join(top, 'repo/.git'), { recursive: true })
  for (const [file, text] of Object.entries(texts)) {
    const path = join(top, FILES[file as keyof typeof FILES])
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }
  const warnings: string[] = []
  const root = join(top, 'repo')
  const place: ConfigPlace = {
    root,
    workTree: root,
    homeDir: join(root, '.git/mlv'),
    env: { HOME: join(top, 'home'), ...env },
    warn: (line) => warnings.push(line),
  }
  return {
    ...place,
    root,
    homeDir: place.homeDir!,
    warnings,
    open: () => openConfig(place),
    read: (file) => readFileSync(join(top, FILES[file]), 'utf8'),
  }
}

async function failure(work: Promise<unknown>): Promise<MlvError> {
  try {
    await work
  } catch (error) {
    if (hasCode(error, 'CONFIG_INVALID', 'YAML_INVALID', 'SECRET_REFUSED', 'USAGE', 'REMOTE_UNKNOWN')) return error
    throw error
  }
  throw new Error('nothing was refused')
}

describe('settings', () => {
  it('come from the user, the project, this clone and the environment, the later winning', async () => {
    const here = world(
      {
        user: 'core:\n  jobs: 1\n  remote: a\nmlflow:\n  experiment: mine\n',
        project: 'core:\n  jobs: 2\n  remote: b\n',
        local: 'core:\n  jobs: 3\n',
      },
      { MLV_AUTOSTAGE: '1', MLFLOW_TRACKING_URI: 'http://localhost:5000' },
    )
    const config = await here.open()
    expect(config.get('core.jobs')).toBe(3)
    expect(config.get('core.remote')).toBe('b')
    expect(config.get('core.autostage')).toBe(true)
    expect(config.get('core.lock_timeout')).toBe(30)
    expect(config.get('mlflow.experiment')).toBe('mine')
    expect(config.list().find(({ key }) => key === 'core.remote')).toEqual({
      key: 'core.remote',
      value: 'b',
      origin: 'project',
      from: '.mlv/config',
    })
    expect(config.list().find(({ key }) => key === 'mlflow.tracking_uri')?.from).toBe('MLFLOW_TRACKING_URI')
  })

  it('of one remote may come from several files', async () => {
    const here = world({
      project: 'remotes:\n  origin:\n    url: s3://bucket/p\n',
      local: 'remotes:\n  origin:\n    profile: me\n  other:\n    profile: x\n',
    })
    const config = await here.open()
    expect(config.remote('origin')).toEqual({ url: 's3://bucket/p', profile: 'me' })
    expect(config.remotes()).toEqual(['origin'])
  })

  it('take link types as a list or in one word', async () => {
    expect((await world({ local: 'cache:\n  link: [hardlink, copy]\n' }).open()).get('cache.link')).toEqual(['hardlink', 'copy'])
    expect((await world({}, { MLV_CACHE_LINK: 'symlink,copy' }).open()).get('cache.link')).toEqual(['symlink', 'copy'])
  })

  it('that a committed file must not decide do not count there, and mlv says so', async () => {
    const here = world({
      project:
        'cache:\n  dir: /data\nremotes:\n  a:\n    url: /data/x\n  b:\n    url: ../x\n  c:\n    url: store\n  d:\n    url: .git/hooks\n',
    })
    const config = await here.open()
    expect(config.get('cache.dir')).toBeUndefined()
    expect(config.remotes()).toEqual(['c'])
    expect(here.warnings).toHaveLength(4)
    expect(here.warnings[0]).toContain('--local')
  })

  it('see through a link that leads a committed remote out of the repository', async () => {
    const here = world({ project: 'remotes:\n  a:\n    url: inside/store\n' })
    symlinkSync(dirname(here.root), join(here.root, 'inside'))
    expect((await here.open()).remotes()).toEqual([])
  })

  it.each([
    ['remotes:\n  a:\n    url: s3://bucket/p\n    secret_access_key: x\n', '.mlv/config:4:24'],
    ['remotes:\n  a:\n    url: https://me:pass@host/x\n', 'password'],
    ['mlflow:\n  tracking_uri: "https://me:pass@host"\n', 'password'],
  ])('that are secrets are refused in the committed file: %j', async (text, words) => {
    const error = await failure(world({ project: text }).open())
    expect(error.code).toBe('SECRET_REFUSED')
    expect(error.message + error.hint).toContain('--local')
    expect(error.message).not.toContain('pass@')
    if (words.includes(':')) expect(error.message).toContain('.mlv/config')
  })

  it('that are secrets count in this clone, and are never listed', async () => {
    const here = world({ local: 'remotes:\n  a:\n    url: s3://bucket/p\n    secret_access_key: geheim\n' })
    const config = await here.open()
    expect(config.remote('a')?.secret_access_key).toBe('geheim')
    expect(JSON.stringify(config.list())).not.toContain('geheim')
  })

  it.each([
    ['core:\n  jobs: many\n', '.git/mlv/config:2:9: core.jobs takes a whole number from 1 to 1000, not "many"'],
    ['core:\n  autostage: 3\n', '.git/mlv/config:2:14: core.autostage takes true or false, not 3'],
    ['core: [a]\n', '.git/mlv/config:1:7: core takes a mapping of keys to values'],
    ['- a\n', '.git/mlv/config:1:1: the file takes a mapping of keys to values'],
    ['core:\n  jobs: 1\n  jobs: 2\n', '.git/mlv/config:3:3: Map keys must be unique'],
    ['core:\n\tjobs: 1\n', '.git/mlv/config:2:1: '],
    ['<<<<<<< HEAD\ncore:\n  jobs: 1\n', '.git/mlv/config:1:'],
  ])('that are wrong are refused by line and column: %j', async (text, words) => {
    const error = await failure(world({ local: text }).open())
    expect(error.message).toContain(words)
    expect(error.hint).toBeTruthy()
  })

  it('of a hostile file are refused: too large, aliases without end, not UTF-8', async () => {
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefgh'
      .split('')
      .map((name, i) => `${name}: &${name} [${Array(9).fill(`*${'abcdefgh'[i]}`).join(',')}]\n`)
      .join('')}`
    expect((await failure(world({ project: bomb }).open())).code).toBe('YAML_INVALID')
    expect((await failure(world({ project: `# ${'x'.repeat(2 << 20)}` }).open())).message).toContain('larger than 1 MiB')
    const here = world({ project: '' })
    writeFileSync(join(here.root, '.mlv/config'), Buffer.from([0x63, 0xff, 0xfe]))
    expect((await failure(here.open())).message).toContain('not UTF-8')
  })

  it('that mlv does not know are said and kept', async () => {
    const here = world({ project: '# ours\ncore:\n  autostag: true # sic\nfuture: {a: 1}\n' })
    await here.open()
    expect(here.warnings).toEqual([
      '.mlv/config:3:13: mlv knows no setting "core.autostag"; did you mean "core.autostage"?',
      '.mlv/config:4:13: mlv knows no setting "future.a"',
    ])
    await editConfig('project', [{ key: 'core.jobs', value: 4 }], here)
    expect(here.read('project')).toBe('# ours\ncore:\n  autostag: true # sic\n  jobs: 4\nfuture: {a: 1}\n')
  })

  it('named like parts of JavaScript objects do no harm', async () => {
    const here = world({ local: 'remotes:\n  __proto__:\n    url: x\n  constructor:\n    url: x\n' })
    expect((await here.open()).remotes()).toEqual([])
    expect(({} as Record<string, unknown>).url).toBeUndefined()
  })

  it('of a variable are checked, and the message names it', async () => {
    expect((await failure(world({}, { MLV_LOCK_TIMEOUT: 'soon' }).open())).message).toBe(
      'MLV_LOCK_TIMEOUT: core.lock_timeout takes a number of seconds, 0 or more, not "soon"',
    )
  })
})

describe('the plain reader', () => {
  it('reads what it takes exactly as YAML does', () => {
    const word = fc.constantFrom('core', 'remotes', 'origin', 'url', 'a-b', 'jobs')
    const value = fc.constantFrom(
      '',
      ' s3://bucket/p',
      ' 3',
      ' 007',
      ' 1.5',
      ' true',
      ' True',
      ' no',
      ' null',
      ' ~',
      ' x: y',
      ' x:',
      ' a b',
      ' "q"',
      ' x#y',
      ' x #y',
      ' /abs/p',
      ' ./rel',
      ' 1e3',
      ' 0x1f',
      ' http://h:1/',
      " 'q'",
      ' [a]',
      ' a,b',
      ' -x',
      ' é',
    )
    const line = fc
      .tuple(fc.constantFrom('', '  ', '    ', '   ', '# '), word, value)
      .map(([indent, key, text]) => `${indent}${key}:${text}`)
    fc.assert(
      fc.property(fc.array(line, { maxLength: 6 }), (lines) => {
        const text = lines.join('\n')
        const plain = parsePlainConfig(text)
        if (plain === undefined) return
        const flat = new Map<string, unknown>()
        const walk = (item: unknown, path: string) => {
          if (typeof item === 'object' && item !== null)
            for (const [key, inner] of Object.entries(item)) walk(inner, path ? `${path}.${key}` : key)
          else if (path) flat.set(path, item)
        }
        walk(parse(text), '')
        expect(plain).toEqual(flat)
      }),
      { numRuns: 2000 },
    )
  })

  it('takes what mlv writes', () => {
    expect(
      parsePlainConfig('# c\n\ncore:\n  remote: origin\nremotes:\n  origin:\n    url: s3://bucket/p\n    path_style: true\n'),
    ).toEqual(
      new Map<string, unknown>([
        ['core.remote', 'origin'],
        ['remotes.origin.url', 's3://bucket/p'],
        ['remotes.origin.path_style', true],
      ]),
    )
  })
})

describe('editing settings', () => {
  it('keeps comments, drops sections that become empty, and writes nothing when nothing changes', async () => {
    const here = world({ project: '# top\n\ncore:\n  # why\n  jobs: 2 # two\nmlflow:\n  experiment: x\n' })
    await editConfig('project', [{ key: 'mlflow.experiment', value: undefined }], here)
    expect(here.read('project')).toBe('# top\n\ncore:\n  # why\n  jobs: 2 # two\n')
    const before = statSync(join(here.root, '.mlv/config')).ino
    expect(
      (
        await editConfig(
          'project',
          [
            { key: 'core.jobs', value: 2 },
            { key: 'cache.link', value: undefined },
          ],
          here,
        )
      ).changed,
    ).toEqual([false, false])
    expect(statSync(join(here.root, '.mlv/config')).ino).toBe(before)
  })

  it('keeps the file of this clone for its owner', async () => {
    const here = world()
    await editConfig('local', [{ key: 'remotes.a.secret_access_key', value: 'x' }], here)
    expect(statSync(join(here.homeDir, 'config')).mode & 0o777).toBe(0o600)
  })

  it('writes below a comment, and below a section that holds nothing', async () => {
    const here = world({ project: '# only words\n', local: 'core:\n' })
    await editConfig('project', [{ key: 'core.jobs', value: 2 }], here)
    await editConfig('local', [{ key: 'core.jobs', value: 3 }], here)
    expect(here.read('project')).toBe('# only words\n\ncore:\n  jobs: 2\n')
    expect((await here.open()).get('core.jobs')).toBe(3)
  })

  it('quotes what YAML would read as something else', async () => {
    const here = world()
    for (const value of ['007', 'null', 'true', '1e3', '# x', 'a: b', '-', 'é "q"']) {
      await editConfig('user', [{ key: 'mlflow.experiment', value }], here)
      expect((await here.open()).get('mlflow.experiment')).toBe(value)
    }
  })
})

describe('remotes', () => {
  const add = (here: World, name: string, url: string, more: Partial<Parameters<typeof addRemote>[1]> = {}) =>
    addRemote(here, { name, url, settings: {}, cwd: here.root, makeDefault: false, force: false, ...more })

  it('go to the committed file, folders outside the repository to this clone; the first is the default', async () => {
    const here = world()
    expect(await add(here, 'origin', 's3://bucket/p/')).toMatchObject({
      file: '.mlv/config',
      url: 's3://bucket/p',
      default: true,
    })
    expect(await add(here, 'disk', '../elsewhere')).toMatchObject({
      file: '.git/mlv/config',
      url: join(dirname(here.root), 'elsewhere'),
      default: false,
    })
    expect(await add(here, 'near', 'store', { cwd: join(here.root, 'sub') })).toMatchObject({
      url: 'sub/store',
      inWorkTree: true,
    })
    const config = await here.open()
    expect(config.remotes()).toEqual(['disk', 'near', 'origin'])
    expect(config.get('core.remote')).toBe('origin')
    expect(here.warnings).toEqual([])
  })

  it('are refused with a bad name, a name that is taken, a setting that does not fit', async () => {
    const here = world()
    await add(here, 'a', 's3://bucket/p')
    for (const name of ['', 'x.y', '../x', '-x', 'a b', '__proto__', 'x'.repeat(65)])
      expect((await failure(add(here, name, 's3://bucket/p'))).code).toBe('CONFIG_INVALID')
    expect((await failure(add(here, 'a', 's3://bucket/q'))).hint).toContain('mlv remote modify a')
    expect((await failure(add(here, 'd', '/x', { settings: { region: 'x' } }))).message).toContain('region')
    expect((await failure(add(here, 's', 's3://bucket/p', { settings: { checksum: 'crc' as 'md5' } }))).message).toContain(
      'sha256 or md5 or none',
    )
    expect((await failure(add(here, 'o', '/outside', { target: 'project' }))).hint).toContain('--local')
  })

  it('are replaced by force, changed where they stand, and forgotten with their place as default', async () => {
    const here = world()
    await add(here, 'a', 's3://bucket/p', { settings: { region: 'x' } })
    await add(here, 'a', '/disk', { force: true })
    expect((await here.open()).remote('a')).toEqual({ url: '/disk' })
    await modifyRemote(here, { name: 'a', url: 's3://cellar/p', settings: { profile: 'p' }, cwd: here.root })
    expect((await here.open()).remote('a')).toEqual({ url: 's3://cellar/p', profile: 'p' })
    await add(here, 'b', 's3://cellar/p')
    await setDefaultRemote(here, 'b', undefined)
    expect((await here.open()).get('core.remote')).toBe('b')
    expect(await removeRemote(here, 'b', undefined)).toEqual(['.mlv/config'])
    expect(here.read('project')).not.toContain('remote: b')
    expect((await failure(removeRemote(here, 'b', undefined))).code).toBe('REMOTE_UNKNOWN')
  })
})

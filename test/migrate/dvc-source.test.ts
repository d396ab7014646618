import { expect, it } from 'vitest'
import { sourceOf } from '../../src/migrate/dvc-source.ts'

const remotes = [{ name: 'lake', settings: { url: 's3://lake/base', endpoint: 'http://127.0.0.1:9', region: 'x' } }]
const context = { folder: '', remotes, root: '/nowhere' }
const COMMIT = 'a'.repeat(40)

it.each([
  [
    'a repository',
    { path: 'data', repo: { url: 'https://h/team/x.git', rev: 'v1', rev_lock: COMMIT } },
    { repo: 'https://h/team/x.git', path: 'data', rev: 'v1', commit: COMMIT },
  ],
  ['a file of a web server', { path: 'https://h/x.csv', checksum: '"abc"' }, { url: 'https://h/x.csv', etag: '"abc"' }],
  ['a weak ETag', { path: 'https://h/x.csv', checksum: 'W/"abc"' }, { url: 'https://h/x.csv', etag: 'W/"abc"' }],
  ['what DVC has no ETag of', { path: 'http://h/x.csv', checksum: '12' }, { url: 'http://h/x.csv' }],
  ['an object', { path: 's3://bucket/k', etag: 'e', version_id: 'v' }, { url: 's3://bucket/k', etag: '"e"', version: 'v' }],
  ['a prefix', { path: 's3://bucket/raw', md5: `${'1'.repeat(32)}.dir`, nfiles: 3 }, { url: 's3://bucket/raw/' }],
  [
    "a remote's object",
    { path: 'remote://lake/k', etag: 'e' },
    { url: 's3://lake/base/k', etag: '"e"', endpoint: 'http://127.0.0.1:9', region: 'x' },
  ],
  ['a remote that is not known', { path: 'remote://other/k' }, undefined],
  ['a file of this machine', { path: '/etc/passwd' }, undefined],
  ['a place mlv does not reach', { path: 'ssh://h/x' }, undefined],
  ['a url with a password', { path: 'https://ada:hunter2@h/x' }, undefined],
  ['a repository with a password', { path: 'd', repo: { url: 'https://ada:hunter2@h/x', rev_lock: COMMIT } }, undefined],
  ['a repository that runs commands', { path: 'd', repo: { url: 'ext::sh -c x', rev_lock: COMMIT } }, undefined],
  ['a relative repository that is not there', { path: 'd', repo: { url: '../gone', rev_lock: COMMIT } }, undefined],
  ['no commit', { path: 'd', repo: { url: 'https://h/x.git' } }, undefined],
])('%s', (_what, dep, source) => {
  const found = sourceOf(dep, context)
  expect(found && JSON.parse(JSON.stringify(found))).toEqual(source)
})

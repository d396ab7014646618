import { describe, expect, it } from 'vitest'
import { hasCode } from '../../src/base/errors.ts'
import { parseRepository } from '../../src/git/repository-name.ts'

const codeOf = (text: string) => {
  try {
    return parseRepository(text, '/work')
  } catch (error) {
    return hasCode(error, 'PATH_INVALID', 'SECRET_REFUSED') ? error.code : error
  }
}

describe('the name of another repository', () => {
  it.each([
    ['../data', { kind: 'folder', folder: '/data' }],
    ['/srv/data.git', { kind: 'folder', folder: '/srv/data.git' }],
    ['./a:b', { kind: 'folder', folder: '/work/a:b' }],
    ['https://host/team/data.git', { kind: 'url', url: 'https://host/team/data.git' }],
    ['ssh://git@host:2222/data.git', { kind: 'url', url: 'ssh://git@host:2222/data.git' }],
    ['git@host:team/data.git', { kind: 'url', url: 'git@host:team/data.git' }],
    ['host:data', { kind: 'url', url: 'host:data' }],
    ['file:///srv/data', { kind: 'url', url: 'file:///srv/data', folder: '/srv/data' }],
  ])('%s is read', (text, place) => {
    expect(codeOf(text)).toEqual(place)
  })

  it.each([
    '',
    ' ',
    '--upload-pack=touch /tmp/x',
    '-oProxyCommand=x',
    'ext::sh -c "touch x"',
    'fd::17',
    'http::https://host/x',
    'ssh://-oProxyCommand=x/y',
    'ssh://-x@host/y',
    'ftp://host/x',
    'gopher://host/x',
    'javascript://host/x',
    'file://host/share',
    'https://',
    'a\nb',
    'a\0b',
  ])('%j is refused', (text) => {
    expect(codeOf(text)).toBe('PATH_INVALID')
  })

  it.each(['https://ada:secret@host/x', 'https://token@host/x', 'ssh://git:secret@host/x', 'http://:x@host/y'])(
    'a password in %s is refused and not repeated',
    (text) => {
      expect(codeOf(text)).toBe('SECRET_REFUSED')
      expect(() => parseRepository(text, '/')).toThrow(/^(?!.*(secret|token|x@))/s)
    },
  )
})

import { describe, expect, it } from 'vitest'
import { formatNumber, formatPercent, formatValue, renderChanges } from '../../src/cli/render/measures.ts'
import type { MeasureChange } from '../../src/measure/compare.ts'

describe('values for readers', () => {
  it.each([
    [0.123456789, 5, '0.12346'],
    [1234567.891, 5, '1234568'],
    [12.3456789, 5, '12.346'],
    [1234567, 3, '1234567'],
    [0.1, 5, '0.1'],
    [0.00000012345678, 3, '1.23e-7'],
    [-0.5, 5, '-0.5'],
    [999999.6, 5, '1000000'],
    [Number.NaN, 5, 'NaN'],
    [-Infinity, 5, '-Infinity'],
  ])('%d with %d digits is %s', (value, precision, text) => {
    expect(formatNumber(value, precision)).toBe(text)
  })

  it.each([
    [undefined, ''],
    [0, '0%'],
    [2.2222, '+2.22%'],
    [-6.3157, '-6.32%'],
    [12.345, '+12.3%'],
    [-1234.5, '-1235%'],
    [0.00012345, '+0.000123%'],
  ])('%s percent is %j', (percent, text) => {
    expect(formatPercent(percent)).toBe(text)
  })

  it('shows lists and maps as JSON, text as it is, and makes control characters visible', () => {
    expect(formatValue([1, 'a', [Number.NaN, null], { b: 0.123456 }], 3)).toBe('[1, "a", [NaN, null], {"b": 0.123}]')
    expect(formatValue('plain', 3)).toBe('plain')
    expect(formatValue('\u001b[31m', 3)).toBe('\\x1b[31m')
    expect(formatValue(undefined, 3)).toBe('')
  })
})

describe('the table of changes', () => {
  const row: MeasureChange = {
    file: 'm.json',
    key: 'acc',
    before: 0.1234561,
    after: 0.1234562,
    change: 1e-7,
    percent: 8.1e-5,
    verdict: 'better',
    bound: undefined,
  }
  const labels = { before: 'main', after: 'HEAD' }

  it('gives two numbers as many digits as tell them apart', () => {
    expect(renderChanges([row], labels, { format: 'text', precision: 5, color: false })).toBe(
      [
        'File    Key       main       HEAD  Change     Percent',
        'm.json  acc  0.1234561  0.1234562   +1e-7  +0.000081%  ▲ better',
      ].join('\n'),
    )
  })

  it('colours better and worse where colour is wanted', () => {
    const colored = (verdict: MeasureChange['verdict']) =>
      renderChanges([{ ...row, verdict }], labels, { format: 'text', precision: 5, color: true })
    expect(colored('better')).toContain('\u001b[32m▲ better\u001b[39m')
    expect(colored('worse')).toContain('\u001b[31m▲ worse\u001b[39m')
    expect(colored(undefined)).not.toContain('\u001b')
    expect(renderChanges([row], labels, { format: 'md', precision: 5, color: true })).toContain('| ▲ **better** |')
  })

  it('keeps a file name with a backtick out of Markdown code', () => {
    const md = renderChanges([{ ...row, file: 'a`b|c.json' }], labels, { format: 'md', precision: 5, color: false })
    expect(md).toContain('| a`b\\|c.json | `acc` |')
  })
})

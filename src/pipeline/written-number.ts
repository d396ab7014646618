/** A number whose text differs from what JavaScript would print: `1.0`, `1e-5`, integers beyond 2^53. */
export class WrittenNumber {
  readonly number: number
  readonly text: string
  constructor(number: number, text: string) {
    this.number = number
    this.text = text
  }
}

/** What a template may stand for: plain values, with numbers kept as people wrote them. */
export type TemplateValue = number | string | boolean | null | WrittenNumber | TemplateValue[] | { [key: string]: TemplateValue }

/** A floating-point number as Python prints it, which is what DVC puts into commands: `1.0`, `0.0001`, `1e-05`, `1e+16`. */
export function floatText(number: number): string {
  if (Number.isNaN(number)) return 'nan'
  if (!Number.isFinite(number)) return number > 0 ? 'inf' : '-inf'
  const [mantissa, exponent] = number.toExponential().split('e') as [string, string]
  const power = Number(exponent)
  if (power >= -4 && power < 16) return plainDigits(number, power)
  return `${mantissa}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`
}

function plainDigits(number: number, power: number): string {
  const text = Object.is(number, -0) ? '-0' : String(number)
  // JavaScript keeps to plain digits between 1e-6 and 1e21.
  return power < 16 && Number.isInteger(number) ? `${text}.0` : text
}

/** Whether a text of YAML or JSON may hold numbers that plain JavaScript values would lose the writing of. */
export function mayLoseNumbers(text: string): boolean {
  return /\d\.0*(?![\d.])|\d[eE][-+\d]|\.\d+[eE]|\.0{4}|\.(?:inf|nan)|\d{16}/i.test(text)
}

/** A number from its YAML source: a float keeps its dot, a long integer its digits. */
export function writtenNumber(number: number, source: string | undefined): number | WrittenNumber {
  if (source === undefined) return number
  if (/^[-+]?\d+$/.test(source)) {
    if (Number.isSafeInteger(number)) return number
    return new WrittenNumber(number, source.replace(/^\+/, ''))
  }
  if (/^[-+]?0[xo]/.test(source)) return number
  const text = floatText(number)
  return text === String(number) ? number : new WrittenNumber(number, text)
}

import { describe, expect, it } from 'vitest';
import { redacted } from '../../activities/browser/redaction.ts';

describe('redaction', () => {
  it.each<[string, string, string]>([
    ['as it is', 'hunter2', 'typed hunter2 twice: hunter2'],
    ['in an address', 'a b/c', '/search?q=a%20b%2Fc'],
    ['in JSON, and in a value of YAML', 'say "x" \\ y', JSON.stringify({ said: 'say "x" \\ y' })],
    ['in a key of YAML', 'O\'Neill "x": y', `- 'heading "O''Neill \\"x\\": y"'`],
    ['as browsers show spaces', 'two  \n words ', 'text: two words'],
  ])('takes a secret out %s', (_, secret, text) => {
    const clean = redacted(text, [secret]);
    expect(clean).toContain('[secret]');
    for (const part of secret.split(/[^A-Za-z0-9]+/).filter((each) => each.length > 2)) expect(clean).not.toContain(part);
  });

  it('leaves no rest of a secret that begins like another, and words of two letters alone', () => {
    expect(redacted('pass and pass-word', ['pass', 'pass-word'])).toBe('[secret] and [secret]');
    expect(redacted('a to b', ['to', ''])).toBe('a to b');
  });
});

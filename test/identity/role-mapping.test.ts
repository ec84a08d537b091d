import { describe, expect, it } from 'vitest';
import { filled, guidOf } from '../../platform/identity/ldap-directory.ts';
import { mappedRoles } from '../../platform/identity/role-mapping.ts';

describe('roles by groups', () => {
  const mapping = { default: ['viewer'], groups: { ops: ['operator', 'viewer'], 'cn=Ops,dc=x': ['developer'], constructor: ['admin'] } };

  it('are everybody\'s and those of each group, once', () => {
    expect(mappedRoles(mapping, [])).toEqual(['viewer']);
    expect(mappedRoles(mapping, ['ops', 'cn=Ops,dc=x', 'ops'])).toEqual(['viewer', 'operator', 'developer']);
  });

  it('ask for the exact name', () => {
    expect(mappedRoles(mapping, ['OPS', 'ops ', 'toString', '__proto__'])).toEqual(['viewer']);
    expect(mappedRoles(mapping, ['constructor'])).toEqual(['viewer', 'admin']);
  });
});

describe('filters of LDAP', () => {
  it('hold what was typed as a value (RFC 4515)', () => {
    expect(filled('(uid={userName})', { userName: String.raw`a*(b)\c` })).toBe(String.raw`(uid=a\2a\28b\29\5cc)`);
    expect(filled('(uid={userName})', { userName: '\0' })).toBe(String.raw`(uid=\00)`);
    expect(filled('(|(uid={userName})(mail={userName}))', { userName: '$&{userName}' })).toBe('(|(uid=$&{userName})(mail=$&{userName}))');
    expect(filled('({other}={userName})', { userName: 'x' })).toBe('({other}=x)');
  });

  it('show an objectGUID as Windows does', () => {
    expect(guidOf(Buffer.from('00112233445566778899aabbccddeeff', 'hex'))).toBe('33221100-5544-7766-8899-aabbccddeeff');
  });
});

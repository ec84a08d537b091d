import { describe, expect, it } from 'vitest';
import { blockOf, rootOf } from '../../platform/content/cid.ts';

describe('content identifiers', () => {
  it('are those that IPFS gives', () => {
    expect(blockOf('raw', Buffer.from('hello world')).cid).toBe('bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e');
    expect(blockOf('raw', Buffer.alloc(0)).cid).toBe('bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku');
  });

  it('of a root say DAG-JSON, and change with order and blocks', () => {
    const [a, b] = [blockOf('raw', Buffer.from('a')).cid, blockOf('raw', Buffer.from('b')).cid];
    const root = rootOf([a, b]);
    expect(rootOf([]).cid).toBe('baguqeeramjsqkx5ve3orawt3hozuvvbmqpf74r6yuhwyfxrdi2d65ew7juwa');
    expect(Buffer.from(root.bytes).toString()).toBe(`{"blocks":[{"/":"${a}"},{"/":"${b}"}]}`);
    expect(new Set([root, rootOf([b, a]), rootOf([a]), rootOf([])].map(({ cid }) => cid)).size).toBe(4);
  });
});

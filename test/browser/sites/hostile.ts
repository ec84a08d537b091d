import { createServer } from 'node:http';
import { onLoopback } from '../../environment/loopback.ts';

/** Pages that mean harm, each under its name. */
const PAGES: Readonly<Record<string, string>> = {
  loop: '<button onclick="for (;;) ;">Go</button><p>after</p>',
  memory: '<button onclick="const hold = []; for (let n = 0; n < 4096; n += 1) hold.push(new Uint8Array(1024 * 1024).fill(n)); window.hold = hold;">Go</button>',
  popups: '<button onclick="for (let n = 0; n < 100; n += 1) window.open(\'/plain?\' + n)">Go</button>',
  download: '<button onclick="fetch(\'/endless\').then((r) => r.blob())">Go</button>',
  dialogs: '<button onclick="alert(1); confirm(2); prompt(3); document.body.append(\'answered\')">Go</button>',
  plain: '<p>plain</p>',
  large: Array.from({ length: 121 }, (_, line) => `<div>line ${String(line)}</div>`).join(''),
  captcha: '<div class="cf-turnstile" style="width:300px;height:65px">Are you human?</div><input type=hidden name=cf-turnstile-response>',
  unseen: '<div class="g-recaptcha" data-size=invisible style="width:10px;height:10px">.</div>',
  solved: '<div class="h-captcha" style="width:300px;height:65px">.</div><textarea name=h-captcha-response>token</textarea>',
  puzzle: '<img src="/captcha.png" alt="captcha" width=100 height=40><label>Text <input name=captcha_text></label>',
  echo: '<form><label>Secret <input name=secret oninput="console.error(this.value); document.title = this.value"></label></form><p id=cookie></p><script>document.querySelector("#cookie").textContent = document.cookie; document.cookie = "who=" + Math.random();</script>',
};

export interface HostileSite {
  readonly url: string;
  close(): Promise<void>;
}

export async function startHostileSite(): Promise<HostileSite> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '/').split('?')[0] ?? '/';
    if (path === '/silent') return; // never answers
    if (path === '/endless') {
      response.writeHead(200, { 'content-type': 'application/octet-stream' });
      const timer = setInterval(() => {
        if (response.writableLength < 1_000_000) response.write(Buffer.alloc(256 * 1024));
      }, 1);
      response.on('close', () => clearInterval(timer));
      return;
    }
    const page = PAGES[path.slice(1)];
    response.writeHead(page === undefined ? 404 : 200, { 'content-type': 'text/html' }).end(`<!doctype html><title>${path}</title>${page ?? ''}`);
  });
  return onLoopback(server);
}

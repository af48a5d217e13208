// SPDX-License-Identifier: Apache-2.0
// Several participants in one page, with a painted picture or a made-up voice, which cost next to nothing.
globalThis.crowd = {
  rooms: [],

  async add(room, name, stream = this.painting()) {
    const { connect } = await import("/client.js");
    this.rooms.push(await connect(location.origin, { room, name, stream }));
    return true;
  },

  painting() {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [160, 90];
    const context = canvas.getContext("2d");
    let count = 0;
    setInterval(() => {
      context.fillStyle = `hsl(${(count++ * 40) % 360} 80% 50%)`;
      context.fillRect(0, 0, 160, 90);
    }, 200);
    return canvas.captureStream(5);
  },

  /** Two seconds of tone, two of silence. Chromium's own fake microphone beeps too shortly to count as speech. */
  voice() {
    const context = new AudioContext();
    const tone = new OscillatorNode(context, { frequency: 300 });
    const gain = new GainNode(context, { gain: 0 });
    const destination = new MediaStreamAudioDestinationNode(context);
    tone.connect(gain).connect(destination);
    tone.start();
    let on = false;
    setInterval(() => (gain.gain.value = (on = !on) ? 0.3 : 0), 2000);
    return destination.stream;
  },
};

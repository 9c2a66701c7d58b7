// An episode again: its videos, and beside them its curves with a line at the video's time.
export default {
  template: `
    <div class="replay">
      <div class="cameras">
        <figure v-for="camera in cameras" :key="camera" class="camera">
          <video ref="videos" :src="'/episodes/' + episode + '/video/' + encodeURIComponent(camera)" muted playsinline
            preload="auto" :aria-label="'video of camera ' + camera"></video>
          <figcaption>{{ camera }}</figcaption>
        </figure>
      </div>
      <div class="player">
        <button type="button" class="play" :disabled="!length" @click="toggle">{{ playing ? "Pause" : "Play" }}</button>
        <input type="range" min="0" :max="length" step="0.05" v-model.number="at" @input="seek" aria-label="time in the episode" />
        <span class="rate">{{ at.toFixed(1) }} s of {{ length.toFixed(1) }} s</span>
      </div>
      <p class="rate" v-if="problem">{{ problem }}</p>
      <div class="plots">
        <figure v-for="name in series" :key="name">
          <canvas ref="plots" role="img" :aria-label="'curve of ' + name"></canvas>
          <figcaption>{{ name }}</figcaption>
        </figure>
      </div>
    </div>`,
  props: { episode: Number, cameras: Array },
  data() {
    return { playing: false, at: 0, length: 0, series: [], problem: "" };
  },
  async mounted() {
    const fetched = async (address) => {
      const answer = await fetch(address);
      const content = await answer.json();
      if (!answer.ok) throw new Error(content.error);
      return content;
    };
    try {
      this.curves = await fetched(`/episodes/${this.episode}/curves`);
      this.clips = await Promise.all(
        this.cameras.map((camera) => fetched(`/episodes/${this.episode}/clip/${encodeURIComponent(camera)}`)),
      );
    } catch (error) {
      this.problem = String(error.message);
      return;
    }
    this.length = this.curves.times[this.curves.times.length - 1];
    this.series = Object.keys(this.curves.series);
    await this.$nextTick();
    this.seek();
    this.draw();
    this.timer = setInterval(() => this.step(), 50);
  },
  unmounted() {
    clearInterval(this.timer);
  },
  methods: {
    toggle() {
      if (!this.clips) return;
      this.playing = !this.playing;
      if (this.playing && this.at >= this.length - 0.1) this.at = 0;
      this.seek();
      for (const video of this.$refs.videos ?? []) this.playing ? video.play().catch(() => {}) : video.pause();
    },
    seek() {
      if (!this.clips) return;
      (this.$refs.videos ?? []).forEach((video, place) => (video.currentTime = this.clips[place].start + this.at));
      this.draw();
    },
    step() {
      const video = this.$refs.videos?.[0];
      if (!this.playing || !video) return;
      this.at = Math.min(Math.max(video.currentTime - this.clips[0].start, 0), this.length);
      if (this.at >= this.length - 0.02) this.toggle();
      this.draw();
    },
    draw() {
      if (!this.curves) return;
      const style = getComputedStyle(this.$el);
      this.series.forEach((name, place) => {
        const canvas = this.$refs.plots?.[place];
        if (!canvas) return;
        const scale = window.devicePixelRatio || 1;
        canvas.width = canvas.clientWidth * scale;
        canvas.height = canvas.clientHeight * scale;
        const pen = canvas.getContext("2d");
        pen.scale(scale, scale);
        const [width, height] = [canvas.clientWidth, canvas.clientHeight];
        const { state, action } = this.curves.series[name];
        const all = [...(state ?? []), ...(action ?? [])].filter((v) => v !== null);
        const [low, high] = [Math.min(...all), Math.max(...all)];
        const room = Math.max((high - low) * 0.08, 0.005);
        const x = (t) => (t / Math.max(this.length, 0.01)) * width;
        const y = (v) => height - 3 - ((v - low + room) / (high - low + 2 * room)) * (height - 6);
        const line = (values, color, dash) => {
          pen.strokeStyle = style.getPropertyValue(color);
          pen.setLineDash(dash);
          pen.lineWidth = 2;
          pen.beginPath();
          values.forEach((v, k) => v !== null && pen.lineTo(x(this.curves.times[k]), y(v)));
          pen.stroke();
        };
        if (state) line(state, "--measured", []);
        if (action) line(action, "--wanted", [6, 3]);
        pen.setLineDash([]);
        pen.strokeStyle = style.getPropertyValue("--ink");
        pen.lineWidth = 1;
        pen.beginPath();
        pen.moveTo(x(this.at), 0);
        pen.lineTo(x(this.at), height);
        pen.stroke();
      });
    },
  },
};

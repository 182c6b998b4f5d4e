-- | Peers over QUIC, by the names of Time Bandits' Geo-Distributed mode, on top of libtbquic.
--
-- A server runs by itself from 'startQuicServer' on: one Haskell thread moves it, a second hands
-- what it has to tell to the actor, one event after another. Every function may be called from any
-- thread, the actor's included. Whatever fails throws a 'QuicFailure'.
module Network.TBQuic
  ( -- * Configuration
    QuicConfig (..), defaultQuicConfig, QuicNetworkMode (..), LogLevel (..)
    -- * Servers
  , QuicServer, withQuicServer, startQuicServer, stopQuicServer
  , quicServerUri, quicServerAddress, quicServerPeerId
    -- * Actors
  , QuicActor (..), quietActor, ActorRole (..), Capability (..), PubKey (..)
  , QuicEvent (..), Verdict (..), Fate (..)
    -- * Connections
  , QuicConnection, connectToQuicPeer, connectToQuicUri, disconnectFromQuicPeer
    -- * Messages
  , QuicMessage (..), sendQuicMessage, broadcastQuicMessage
  , SendOptions (..), Lane (..), defaultSendOptions, sendQuicMessageWith, broadcastQuicMessageWith
  , requestQuicResource, answerQuicRequest, RequestId, Answer (..)
    -- * Peers
  , QuicPeer (..), QuicPeerId, peerIdText, peerIdFromText
  , quicPeers, discoverQuicPeers, announcePeer
  , Policy (..), selectQuicPeers, setQuicLoad
    -- * Errors
  , QuicError (..)
  ) where

import Control.Concurrent
import Control.Exception
import Control.Monad
import qualified Data.ByteString as B
import Data.IORef
import Data.List (foldl')
import qualified Data.Map.Strict as M
import Data.Maybe (fromMaybe)
import Data.Time.Clock (NominalDiffTime, UTCTime)
import Data.Time.Clock.POSIX (posixSecondsToUTCTime)
import Foreign hiding (free, void)
import Foreign.C.Types (CInt)
import Foreign.C.String (withCString)
import GHC.Conc (getUncaughtExceptionHandler)
import Network.Socket hiding (bind)
import Network.TBQuic.C
import System.Posix.Types (Fd)

-- Errors ------------------------------------------------------------------------------------------

-- | What went wrong: thrown by every function here, and what an error message between peers says.
data QuicError = QuicFailure
  { quicErrorCode :: Int     -- ^ a @TBQ_ERR_@ number
  , quicErrorName :: String  -- ^ its name, such as @TBQ_ERR_TIMEOUT@
  , quicErrorText :: String  -- ^ for people
  } deriving (Eq, Show)

instance Exception QuicError where
  displayException e = quicErrorName e ++ ": " ++ quicErrorText e

failure :: CInt -> String -> QuicError
failure code why = QuicFailure (fromIntegral code) (errorName code)
                               (if null why then errorText code else why)

check :: CInt -> IO CInt
check rv = if rv < 0 then throwIO (failure rv "") else pure rv

-- Configuration -----------------------------------------------------------------------------------

-- | How a node is set up. The first ten fields are those of the Geo-Distributed mode.
data QuicConfig = QuicConfig
  { qcBindAddress :: SockAddr         -- ^ the address to listen at; its port does not count
  , qcBindPort :: Int                 -- ^ the port to listen at; 0: any free one
  , qcCertPath :: FilePath            -- ^ the certificate, PEM; empty: made from the key
  , qcKeyPath :: FilePath             -- ^ the private key, PEM; empty: see 'qcStateDir'
  , qcNetworkMode :: QuicNetworkMode
  , qcBootstrapNodes :: [SockAddr]    -- ^ dialled at start and for as long as the server runs
  , qcConnectionTimeout :: Int        -- ^ ms
  , qcMaxConnections :: Int
  , qcMaxMessageSize :: Int           -- ^ bytes
  , qcPingInterval :: Int             -- ^ ms
  , qcBootstrapUris :: [String]       -- ^ more of them: @tbq:\/\/PEERID\@host:port@ pins the key
  , qcStateDir :: Maybe FilePath      -- ^ where the key is kept; 'Nothing': a fresh one in memory
  , qcAllowPath :: Maybe FilePath     -- ^ whom alone to let in: peer ids, one a line
  , qcDenyPath :: Maybe FilePath      -- ^ whom not to let in
  , qcLogLevel :: LogLevel            -- ^ what comes as 'LogLine'
  }

data QuicNetworkMode
  = ClientMode  -- ^ dials, accepts nobody
  | ServerMode  -- ^ accepts, dials nobody
  | HybridMode  -- ^ both
  deriving (Eq, Show)

data LogLevel = LogError | LogWarning | LogInfo | LogDebug
  deriving (Eq, Ord, Enum, Show)

-- | Every address, port 8443, both modes, a fresh key in memory, and the library's own limits.
defaultQuicConfig :: QuicConfig
defaultQuicConfig = QuicConfig
  { qcBindAddress = SockAddrInet6 0 0 (0, 0, 0, 0) 0
  , qcBindPort = 8443
  , qcCertPath = ""
  , qcKeyPath = ""
  , qcNetworkMode = HybridMode
  , qcBootstrapNodes = []
  , qcConnectionTimeout = 5000
  , qcMaxConnections = 1024
  , qcMaxMessageSize = 1024 * 1024
  , qcPingInterval = 30000
  , qcBootstrapUris = []
  , qcStateDir = Nothing
  , qcAllowPath = Nothing
  , qcDenyPath = Nothing
  , qcLogLevel = LogWarning
  }

-- | The public key, 32 bytes of Ed25519, that the key file must hold.
data PubKey = AnyKey | PubKey B.ByteString
  deriving (Eq, Show)

toC :: QuicConfig -> QuicActor -> IO Config
toC c actor = do
  host <- case qcBindAddress c of
    -- The library's own default: IPv4 alone where the machine has no IPv6.
    SockAddrInet6 _ _ (0, 0, 0, 0) _ -> pure Nothing
    address -> Just . fst <$> numeric address
  bootstrap <- mapM hostPort (qcBootstrapNodes c)
  port <- fit "qcBindPort" qcBindPort
  timeout <- fit "qcConnectionTimeout" qcConnectionTimeout
  connections <- fit "qcMaxConnections" qcMaxConnections
  largest <- fit "qcMaxMessageSize" qcMaxMessageSize
  ping <- fit "qcPingInterval" qcPingInterval
  pure Config
    { cBindAddress = host
    , cBindPort = port
    , cCertPath = given (qcCertPath c)
    , cKeyPath = given (qcKeyPath c)
    , cStateDir = qcStateDir c
    , cAllowPath = qcAllowPath c
    , cDenyPath = qcDenyPath c
    , cMode = case qcNetworkMode c of
        ClientMode -> modeClient
        ServerMode -> modeServer
        HybridMode -> modeHybrid
    , cBootstrap = bootstrap ++ qcBootstrapUris c
    , cConnectionTimeout = timeout
    , cMaxConnections = connections
    , cMaxMessageSize = largest
    , cPingInterval = ping
    , cCapabilities = foldl' (.|.) 0 (map (bit . fromEnum) (actorCapabilities actor))
    , cRole = maybe 0 (fromIntegral . succ . fromEnum) (actorRole actor)
    , cLogLevel = fromIntegral (fromEnum (qcLogLevel c))
    }
  where
    given path = if null path then Nothing else Just path
    -- C would cut a number that is too large for its field, and then find nothing wrong with it.
    fit :: Integral a => String -> (QuicConfig -> Int) -> IO a
    fit name get = narrow name (get c)

narrow :: Integral a => String -> Int -> IO a
narrow name n
  | toInteger small == toInteger n = pure small
  | otherwise = throwIO (failure errInvalid (name ++ " cannot be " ++ show n))
  where small = fromIntegral n

numeric :: SockAddr -> IO (String, String)
numeric address = do
  (host, port) <- getNameInfo [NI_NUMERICHOST, NI_NUMERICSERV] True True address
  pure (fromMaybe "" host, fromMaybe "" port)

hostPort :: SockAddr -> IO String
hostPort address = do
  (host, port) <- numeric address
  pure $ case address of
    SockAddrInet6 {} -> "[" ++ host ++ "]:" ++ port
    _ -> host ++ ":" ++ port

-- Actors ------------------------------------------------------------------------------------------

-- | The application's side of a server.
data QuicActor = QuicActor
  { actorRole :: Maybe ActorRole
  , actorCapabilities :: [Capability]
    -- | Called for one event after another, on a thread of its own. A message counts as delivered
    -- when this has returned 'Take'; on 'Refuse', and when an exception leaves it, its sender is
    -- told that it was refused. What is answered to other events does not matter.
  , actorHandle :: QuicServer -> QuicEvent -> IO Verdict
  }

-- | Takes everything and does nothing with it.
quietActor :: QuicActor
quietActor = QuicActor Nothing [] (\_ _ -> pure Take)

data Verdict = Take | Refuse
  deriving (Eq, Show)

data ActorRole = TimeTraveler | TimeKeeper | TimeBandit
  deriving (Eq, Enum, Show)

data Capability = CanRoute | CanStore | CanValidate | CanObserve | FullNode
  deriving (Eq, Enum, Bounded, Show)

-- | What a server has to tell.
data QuicEvent
  = Connected QuicPeerId QuicConnection
  | Disconnected (Maybe QuicPeerId) QuicConnection QuicError
  | ConnectFailed QuicConnection QuicError
    -- | From whom, and whether it may have come before, to an earlier process of this node.
  | Message QuicPeerId Bool QuicMessage
    -- | The answer to a 'QuicPing': the round trip, and the clock of the peer.
  | Ponged QuicPeerId NominalDiffTime UTCTime
    -- | To be answered with 'answerQuicRequest', now or later.
  | Requested QuicPeerId RequestId B.ByteString
    -- | Exactly one for each message that was sent, with its tag.
  | FateOf (Maybe QuicPeerId) Word64 Fate
    -- | After the last fate of a broadcast: delivered, not delivered, unknown.
  | Broadcasted Word64 (Int, Int, Int)
  | Writable QuicPeerId        -- ^ after @TBQ_ERR_AGAIN@ sends are taken again
  | PeerHeardOf QuicPeerId     -- ^ see 'quicPeers'
  | PathChanged QuicPeerId QuicConnection  -- ^ it goes on at another address; nothing is lost
  | Warning String
  | LogLine LogLevel String
  | Stopped                    -- ^ the last one
  deriving (Eq, Show)

data Fate
  = Delivered               -- ^ the receiving application took it
  | NotDelivered QuicError  -- ^ it did not, and never will
  | Unknown QuicError       -- ^ sent, and the receiver never answered again
  deriving (Eq, Show)

-- Servers -----------------------------------------------------------------------------------------

-- | A node: one key, one UDP port, any number of peers.
data QuicServer = QuicServer
  { svState :: MVar State        -- ^ calls on one server must not overlap: who holds this may call
  , svTold :: Chan (Maybe (Ptr CEvent, QuicEvent))
  , svNotices :: IORef Int       -- ^ in 'svTold': events that are neither messages nor fates
  , svDriven :: MVar ()          -- ^ full when nothing moves the server any more
  , svActed :: MVar ()           -- ^ full when the actor has seen the last event
  , svDriver, svActor :: MVar ThreadId
  , quicServerUri :: String      -- ^ @tbq:\/\/PEERID\@host:port@, for others to dial
  , quicServerAddress :: String  -- ^ what was bound
  , quicServerPeerId :: QuicPeerId
  }

data State = State
  { stServer :: Ptr CServer  -- ^ null when it was freed
  , stDials :: M.Map Word64 (MVar (Either QuicError ()))
  , stRequests :: M.Map Word64 (MVar (Either QuicError B.ByteString))
  }

-- | So many notices wait for a slow actor; further ones are dropped. Messages and fates never are:
-- the library's windows bound them.
noticesMax :: Int
noticesMax = 1024

-- | Runs a server for as long as the action runs, and stops it in any case.
withQuicServer :: QuicConfig -> QuicActor -> PubKey -> (QuicServer -> IO a) -> IO a
withQuicServer config actor key = bracket (startQuicServer config actor key) stopQuicServer

-- | Loads or makes the key, binds the port, and runs until 'stopQuicServer'.
startQuicServer :: QuicConfig -> QuicActor -> PubKey -> IO QuicServer
startQuicServer config actor key = mask_ $ do
  c <- toC config actor
  p <- withConfig c $ \cc why -> withKey $ \k -> alloca $ \out -> do
    rv <- c_start out cc nullPtr k nullPtr
    when (rv < 0) $ why >>= throwIO . failure rv
    peek out
  server <- (do
    state <- newMVar (State p M.empty M.empty)
    uri <- c_uri p
    address <- c_address p
    QuicServer state <$> newChan <*> newIORef 0 <*> newEmptyMVar <*> newEmptyMVar
      <*> newEmptyMVar <*> newEmptyMVar <*> peekText uri <*> peekText address <*> (QuicPeerId <$> (c_peer_id p >>= peekId)))
    `onException` c_free p
  fd <- (c_fd p >>= check) `onException` c_free p
  forkIO (drive server (fromIntegral fd) `finally` ended server) >>= putMVar (svDriver server)
  forkIO (act server actor `finally` putMVar (svActed server) ()) >>= putMVar (svActor server)
  pure server
  where
    withKey go = case key of
      AnyKey -> go nullPtr
      PubKey k
        | B.length k == 32 -> B.useAsCString k (go . castPtr)
        | otherwise -> throwIO (failure errInvalid "a public key has 32 bytes")
    ended server = do
      writeChan (svTold server) Nothing
      putMVar (svDriven server) ()

-- | Waits until every message has its fate, at most three seconds, and until the actor has seen
-- the last event; then closes all. May be repeated. From within the actor it does not wait for it.
stopQuicServer :: QuicServer -> IO ()
stopQuicServer server = wait `finally` free
  where
    wait = do
      running <- withState server $ \st ->
        (st, stServer st /= nullPtr) <$ unless (stServer st == nullPtr) (stop (stServer st))
      when running $ do
        readMVar (svDriven server)
        self <- myThreadId
        actor <- readMVar (svActor server)
        unless (self == actor) $ readMVar (svActed server)
    stop p = c_stop p 3000 >> void (c_fd p)
    -- Nothing here waits for long. Where waiting was interrupted, the descriptor must not be closed
    -- under the thread that waits for it.
    free = uninterruptibleMask_ $ do
      readMVar (svDriver server) >>= killThread
      st <- modifyMVar (svState server) $ \st -> do
        unless (stServer st == nullPtr) $ c_free (stServer st)
        pure (State nullPtr M.empty M.empty, st)
      giveUp st (failure errStopped "")

giveUp :: State -> QuicError -> IO ()
giveUp st e = do
  forM_ (stDials st) $ \v -> tryPutMVar v (Left e)
  forM_ (stRequests st) $ \v -> tryPutMVar v (Left e)

withState :: QuicServer -> (State -> IO (State, a)) -> IO a
withState server = modifyMVar (svState server)

-- | One call on the server. What it set in motion is seen to by the thread that drives it: asked
-- for anew, the descriptor that this thread waits for becomes readable.
call :: QuicServer -> (Ptr CServer -> State -> IO (State, a)) -> IO a
call server go = withState server $ \st -> do
  when (stServer st == nullPtr) $ throwIO (failure errClosed "")
  go (stServer st) st <* c_fd (stServer st)

simple :: QuicServer -> (Ptr CServer -> IO CInt) -> IO CInt
simple server go = call server $ \p st -> (,) st <$> (go p >>= check)

-- | Moves the server until it has stopped.
drive :: QuicServer -> Fd -> IO ()
drive server fd = do
  threadWaitRead fd
  on <- withState server $ \st ->
    if stServer st == nullPtr
      then pure (st, False)
      else do
        rv <- c_process (stServer st)
        (st', stopped) <- pull server st
        if rv < 0
          then do  -- nobody would move it any more: better that calls say so
            let e = failure rv ""
            writeChan (svTold server) (Just (nullPtr, Warning (displayException e)))
            giveUp st' e
            c_free (stServer st)
            pure (State nullPtr M.empty M.empty, False)
          else pure (st', not stopped)
  when on $ drive server fd

-- | All events there are now; True after the last of all.
pull :: QuicServer -> State -> IO (State, Bool)
pull server st = do
  p <- c_next_event (stServer st)
  if p == nullPtr
    then pure (st, False)
    else do
      e <- peekEvent p
      st' <- settle st e
      if eType e `elem` [eventMessage, eventRequest]
        then told server (p, fromC e)
        else do
          c_accept p
          wanted <- room e
          when wanted $ told server (nullPtr, fromC e)
      if eType e == eventStopped then pure (st', True) else pull server st'
  where
    room e
      | eType e == eventResponse = pure False
      | eType e `elem` [eventFate, eventBroadcast, eventStopped] = pure True
      | otherwise = atomicModifyIORef' (svNotices server) $ \n ->
          if n < noticesMax then (n + 1, True) else (n, False)
    told s x = writeChan (svTold s) (Just x)

-- | Wakes who waits for just this event.
settle :: State -> Event -> IO State
settle st e
  | eType e == eventConnected = dial (Right ())
  | eType e `elem` [eventConnectFailed, eventDisconnected] = dial (Left why)
  | eType e == eventResponse = case M.lookup (eRequest e) (stRequests st) of
      Nothing -> pure st
      Just v -> do
        _ <- tryPutMVar v $ case eBody e of
          Just (Response status b)
            | status == responseOk -> Right b
            | otherwise -> Left (refused status (fromUtf8 b))
          _ -> Left why
        pure st { stRequests = M.delete (eRequest e) (stRequests st) }
  | otherwise = pure st
  where
    why = failure (eReason e) (eText e)
    dial outcome = do
      forM_ (M.lookup (eConnection e) (stDials st)) $ \v -> tryPutMVar v outcome
      pure st { stDials = M.delete (eConnection e) (stDials st) }
    refused status b = failure errRefused $
      (if status == responseNotFound then "not found" else
       if status == responseRefused then "refused" else "failed") ++ (if null b then "" else ": " ++ b)

-- | Hands events to the actor, and the actor's verdicts back.
act :: QuicServer -> QuicActor -> IO ()
act server actor = readChan (svTold server) >>= \next -> case next of
  Nothing -> pure ()
  Just (p, e) -> do
    verdict <- try (interruptible (actorHandle actor server e))
    when (p /= nullPtr) $ withState server $ \st -> do
      unless (stServer st == nullPtr) $ do  -- the server took its events with it
        (if either (const Refuse) id verdict == Take then c_accept else c_refuse) p
        void (c_fd (stServer st))
      pure (st, ())
    when (p == nullPtr && notice e) $ atomicModifyIORef' (svNotices server) (\n -> (n - 1, ()))
    either (\x -> getUncaughtExceptionHandler >>= \tell -> tell (x :: SomeException))
           (const (pure ())) verdict
    act server actor
  where
    notice FateOf {} = False
    notice Broadcasted {} = False
    notice Stopped = False
    notice _ = True

-- Connections -------------------------------------------------------------------------------------

-- | Names one connection of one server, also when it has ended.
newtype QuicConnection = QuicConnection Word64
  deriving (Eq, Ord, Show)

-- | Dials, and returns when both sides have agreed.
connectToQuicPeer :: QuicServer -> SockAddr -> IO QuicConnection
connectToQuicPeer server address = hostPort address >>= connectToQuicUri server

-- | The same with @host:port@, @tbq:\/\/PEERID\@host:port@, which pins the key, or a peer id.
connectToQuicUri :: QuicServer -> String -> IO QuicConnection
connectToQuicUri server address = mask_ $ do
  outcome <- newEmptyMVar
  c <- call server $ \p st -> withCString address $ \a -> alloca $ \out -> do
    _ <- c_connect p a out >>= check
    c <- peek out
    pure (st { stDials = M.insert c outcome (stDials st) }, c)
  result <- takeMVar outcome `onException` quietly (disconnectFromQuicPeer server (QuicConnection c))
  either throwIO (const (pure (QuicConnection c))) result
  where
    quietly go = try go :: IO (Either QuicError ())

-- | Closes a connection. What has no fate yet gets one.
disconnectFromQuicPeer :: QuicServer -> QuicConnection -> IO ()
disconnectFromQuicPeer server (QuicConnection c) = void $ simple server (`c_close` c)

-- Messages ----------------------------------------------------------------------------------------

data QuicMessage
  = QuicPing UTCTime  -- ^ the time is for the reader: the library measures the round trip itself
  | QuicPong UTCTime  -- ^ comes as 'Ponged'; never sent by hand
  | QuicDiscover
  | QuicAnnounce QuicPeer  -- ^ sends the own record, whichever peer is named here
  | QuicPeerList [QuicPeer]  -- ^ never sent by hand, and received by the library itself
  | QuicTransition B.ByteString
  | QuicResourceRequest B.ByteString  -- ^ 'requestQuicResource' waits for the answer as well
  | QuicResourceResponse B.ByteString  -- ^ never sent by hand: see 'answerQuicRequest'
  | QuicError QuicError
  deriving (Eq, Show)

data Lane = Critical | High | Normal | Low
  deriving (Eq, Enum, Show)

data SendOptions = SendOptions
  { sendTag :: Word64      -- ^ comes back with the fate
  , sendLane :: Lane       -- ^ a message overtakes those of lower lanes
  , sendTimeToLive :: Int  -- ^ ms; 0: for as long as the peer may come back
  , sendUnordered :: Bool  -- ^ neither waits for others nor makes them wait
  } deriving (Eq, Show)

defaultSendOptions :: SendOptions
defaultSendOptions = SendOptions 0 Normal 0 False

-- | Queues a message for the peer at the other end, and returns at once; what became of it is told
-- by a 'FateOf' event.
sendQuicMessage :: QuicServer -> QuicConnection -> QuicMessage -> IO ()
sendQuicMessage = sendQuicMessageWith defaultSendOptions

sendQuicMessageWith :: SendOptions -> QuicServer -> QuicConnection -> QuicMessage -> IO ()
sendQuicMessageWith options server (QuicConnection c) message =
  void $ sending options message $ \m o -> simple server $ \p -> c_send p c m o

-- | Queues a message for every peer that is connected.
broadcastQuicMessage :: QuicServer -> QuicMessage -> IO ()
broadcastQuicMessage server = void . broadcastQuicMessageWith defaultSendOptions server

-- | Returns how many those are.
broadcastQuicMessageWith :: SendOptions -> QuicServer -> QuicMessage -> IO Int
broadcastQuicMessageWith options server message =
  fmap fromIntegral $ sending options message $ \m o -> simple server $ \p -> c_broadcast p m o

sending :: SendOptions -> QuicMessage -> (Ptr CMessage -> Ptr COptions -> IO a) -> IO a
sending options message go = do
  ttl <- narrow "sendTimeToLive" (sendTimeToLive options)
  withMessage out $ \m ->
    withOptions (sendTag options) (fromIntegral (fromEnum (sendLane options))) ttl
                (sendUnordered options) (go m)
  where
    out = case message of
      QuicPing _ -> OutPlain kindPing
      QuicPong _ -> OutPlain kindPong
      QuicDiscover -> OutPlain kindDiscover
      QuicAnnounce _ -> OutPlain kindAnnounce
      QuicPeerList _ -> OutPlain kindPeerList
      QuicTransition b -> OutTransition b
      QuicResourceRequest b -> OutRequest b
      QuicResourceResponse b -> OutResponse b
      QuicError e -> OutError (fromIntegral (quicErrorCode e)) (toUtf8 (quicErrorText e))

-- | Names a request that came from a peer.
newtype RequestId = RequestId Word64
  deriving (Eq, Ord, Show)

data Answer
  = Resource B.ByteString
  | NotFound String
  | Refused String
  | Failed String
  deriving (Eq, Show)

-- | Asks a peer for a resource and waits for it, at most so many ms.
requestQuicResource :: QuicServer -> QuicPeerId -> Int -> B.ByteString -> IO B.ByteString
requestQuicResource server (QuicPeerId peer) ms what = do
  timeout <- narrow "the timeout" ms
  outcome <- newEmptyMVar
  call server $ \p st ->
    B.useAsCString peer $ \to -> B.useAsCStringLen what $ \(from, n) -> alloca $ \out -> do
      _ <- c_request p to from (fromIntegral n) timeout nullPtr out >>= check
      request <- peek out
      pure (st { stRequests = M.insert request outcome (stRequests st) }, ())
  takeMVar outcome >>= either throwIO pure

-- | Answers a 'Requested', once.
answerQuicRequest :: QuicServer -> RequestId -> Answer -> IO ()
answerQuicRequest server (RequestId request) answer =
  void $ withAnswer status b $ \a -> simple server $ \p -> c_respond p request a
  where
    (status, b) = case answer of
      Resource x -> (responseOk, x)
      NotFound why -> (responseNotFound, toUtf8 why)
      Refused why -> (responseRefused, toUtf8 why)
      Failed why -> (responseFailed, toUtf8 why)

-- Peers -------------------------------------------------------------------------------------------

-- | Who a node is: SHA-256 of its public key. Shown as text.
newtype QuicPeerId = QuicPeerId B.ByteString
  deriving (Eq, Ord)

instance Show QuicPeerId where
  show = peerIdText

-- | 52 characters of lower-case base32.
peerIdText :: QuicPeerId -> String
peerIdText (QuicPeerId b) = idText b

peerIdFromText :: String -> Maybe QuicPeerId
peerIdFromText = fmap QuicPeerId . idFromText

-- | What is known of a peer.
data QuicPeer = QuicPeer
  { qpId :: QuicPeerId
  , qpPublicKey :: Maybe B.ByteString   -- ^ proved; 'Nothing': never met
  , qpConnected :: Bool
  , qpAddress :: Maybe String           -- ^ of its connection
  , qpAddresses :: [String]             -- ^ where it says that it can be reached
  , qpCapabilities :: [Capability]      -- ^ what it says that it can do
  , qpRole :: Maybe ActorRole
  , qpLastSeen :: Maybe UTCTime
  , qpRoundTrip :: Maybe NominalDiffTime
  , qpLoad :: Maybe Int                 -- ^ permille of its capacity in use, as it says
  , qpCapacity :: Int                   -- ^ next to others', as it says
  } deriving (Eq, Show)

-- | Everybody whom the server knows: those connected first.
quicPeers :: QuicServer -> IO [QuicPeer]
quicPeers server = call server $ \p st -> alloca $ \out -> do
  _ <- c_peers p nullPtr out >>= check
  peers <- peek out
  found <- peekPeers peers `finally` c_peers_free peers
  pure (st, map peer found)
  where
    peer x = QuicPeer
      { qpId = QuicPeerId (pId x)
      , qpPublicKey = pPublicKey x
      , qpConnected = pConnected x
      , qpAddress = if null (pAddress x) then Nothing else Just (pAddress x)
      , qpAddresses = pAddresses x
      , qpCapabilities = [c | c <- [minBound ..], testBit (pCapabilities x) (fromEnum c)]
      , qpRole = case pRole x of
          n | n >= 1 && n <= 3 -> Just (toEnum (fromIntegral n - 1))
          _ -> Nothing
      , qpLastSeen = if pLastSeenMs x == 0 then Nothing else Just (wallClock (pLastSeenMs x))
      , qpRoundTrip = if pRoundTripNs x == 0 then Nothing else Just (nanoseconds (pRoundTripNs x))
      , qpLoad = fromIntegral <$> pLoad x
      , qpCapacity = fromIntegral (pCapacity x)
      }

-- | Asks all connected peers for others with these capabilities: see 'PeerHeardOf'. Returns how
-- many were asked.
discoverQuicPeers :: QuicServer -> [Capability] -> IO Int
discoverQuicPeers server wanted = fromIntegral <$> simple server (`c_discover` allOf wanted)

allOf :: [Capability] -> Word64
allOf = foldl' (.|.) 0 . map (bit . fromEnum)

-- | Tells all connected peers the own record anew.
announcePeer :: QuicServer -> IO ()
announcePeer server = void $ simple server c_announce

-- | How 'selectQuicPeers' chooses.
data Policy
  = ByKey B.ByteString  -- ^ the same key leads to the same peer; who has much to do comes last
  | LeastRoundTrip
  | TwoChoices          -- ^ of two at random the one that has less to do
  deriving (Eq, Show)

-- | At most so many peers with all these capabilities, the best first: those that are connected,
-- and those met lately that may be dialled by their id.
selectQuicPeers :: QuicServer -> Policy -> [Capability] -> Int -> IO [QuicPeerId]
selectQuicPeers server policy wanted most = do
  room <- narrow "how many peers" most :: IO Word16
  withQuery number (allOf wanted) key most $ \query out -> do
    n <- simple server $ \p -> c_select p query out (fromIntegral room)
    map QuicPeerId <$> peekIds (fromIntegral n) out
  where
    (number, key) = case policy of
      ByKey k -> (selectRendezvous, k)
      LeastRoundTrip -> (selectLeastRtt, B.empty)
      TwoChoices -> (selectTwoChoices, B.empty)

-- | Tells the peers how busy this node is, in permille of its capacity, and how strong it is next
-- to others; capacity 0: as one that has told none.
setQuicLoad :: QuicServer -> Int -> Int -> IO ()
setQuicLoad server load capacity = do
  l <- narrow "the load" load
  c <- narrow "the capacity" capacity
  void $ simple server $ \p -> c_set_load p l c

-- From C ------------------------------------------------------------------------------------------

fromC :: Event -> QuicEvent
fromC e
  | is eventConnected = Connected peer connection
  | is eventDisconnected = Disconnected (QuicPeerId <$> ePeer e) connection why
  | is eventConnectFailed = ConnectFailed connection why
  | is eventMessage = case eBody e of
      Just (Pong rtt wall) -> Ponged peer (nanoseconds rtt) (wallClock wall)
      Just (Transition b) -> Message peer (eRepeat e) (QuicTransition b)
      Just (Failure code b) ->
        Message peer (eRepeat e) (QuicError (failure code (fromUtf8 b)))
      _ -> Warning "a message of a kind that this binding does not know"
  | is eventRequest = case eBody e of
      Just (Request b) -> Requested peer (RequestId (eRequest e)) b
      _ -> Warning "a request of a kind that this binding does not know"
  | is eventFate = FateOf (QuicPeerId <$> ePeer e) (eTag e) $
      if eFate e == fateDelivered then Delivered
      else if eFate e == fateNotDelivered then NotDelivered why
      else Unknown why
  | is eventWritable = Writable peer
  | is eventLog = LogLine (toEnum (fromIntegral (eLevel e))) (eText e)
  | is eventStopped = Stopped
  | is eventPeer = PeerHeardOf peer
  | is eventPath = PathChanged peer connection
  | is eventBroadcast = Broadcasted (eTag e) (eCounts e)
  | otherwise = Warning (eText e)
  where
    is = (eType e ==)
    peer = QuicPeerId (fromMaybe B.empty (ePeer e))
    connection = QuicConnection (eConnection e)
    why = failure (eReason e) (eText e)

nanoseconds :: Word64 -> NominalDiffTime
nanoseconds n = fromRational (toRational n / 1000000000)

wallClock :: Word64 -> UTCTime
wallClock ms = posixSecondsToUTCTime (fromRational (toRational ms / 1000))

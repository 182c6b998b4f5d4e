{-# LANGUAGE ForeignFunctionInterface #-}
-- | The functions, numbers and structs of libtbquic as they are in C. The layout of every struct
-- is asked of the C compiler by hsc2hs; none is written down here.
--
-- A server that is started without an actor and without a log hook never calls back, so every call
-- could be @unsafe@. The few that may touch the disk, or do much work, are @safe@ nevertheless:
-- the other Haskell threads then go on meanwhile.
module Network.TBQuic.C
  ( CServer, CConfig, CEvent, CMessage, COptions
    -- * Config
  , Config (..), withConfig
    -- * Server
  , c_start, c_stop, c_free, c_peer_id, c_uri, c_address, c_fd, c_process
    -- * Events
  , c_next_event, c_accept, c_refuse
  , Event (..), peekEvent, Body (..)
    -- * Calls
  , c_connect, c_close, c_send, c_broadcast, c_request, c_respond, c_discover, c_announce
  , Out (..), withMessage, withOptions, withAnswer
    -- * Peers
  , c_peers, c_peers_free, Peer (..), peekPeers
  , c_select, withQuery, peekIds, c_set_load
    -- * Small things
  , idText, idFromText, peekId, peekText, fromUtf8, toUtf8, errorName, errorText
    -- * Numbers
  , errInvalid, errClosed, errRefused, errStopped
  , modeClient, modeServer, modeHybrid
  , kindPing, kindPong, kindDiscover, kindAnnounce, kindPeerList
  , eventConnected, eventDisconnected, eventConnectFailed, eventMessage, eventRequest
  , eventResponse, eventFate, eventWritable, eventWarning, eventLog, eventStopped, eventPeer
  , eventBroadcast, eventPath
  , fateDelivered, fateNotDelivered
  , responseOk, responseNotFound, responseRefused, responseFailed
  , selectRendezvous, selectLeastRtt, selectTwoChoices
  ) where

import qualified Data.ByteString as B
import qualified Data.ByteString.Unsafe as B
import qualified Data.Text as T
import qualified Data.Text.Encoding as T
import qualified Data.Text.Encoding.Error as T
import Foreign
import Foreign.C
import qualified GHC.Foreign as GHC
import GHC.IO.Encoding (getFileSystemEncoding)
import System.IO.Unsafe (unsafePerformIO)

#include <tbquic/tbquic.h>

data CServer
data CConfig
data CEvent
data CMessage
data COptions
data CAnswer
data CPeers
data CPeerId
data CQuery

-- Config ------------------------------------------------------------------------------------------

-- | What the binding sets of a @tbq_config@; the rest keeps its defaults.
data Config = Config
  { cBindAddress :: Maybe String
  , cBindPort :: Word16
  , cCertPath, cKeyPath, cStateDir, cAllowPath, cDenyPath :: Maybe FilePath
  , cMode :: CInt
  , cBootstrap :: [String]
  , cConnectionTimeout, cMaxConnections, cMaxMessageSize, cPingInterval :: Word32
  , cCapabilities :: Word64
  , cRole :: CInt
  , cLogLevel :: CInt
  }

foreign import ccall unsafe "tbq_config_init_sized"
  c_config_init :: Ptr CConfig -> CSize -> IO ()

-- | A filled in @tbq_config@, and a way to read what a failed start wrote about it.
withConfig :: Config -> (Ptr CConfig -> IO String -> IO a) -> IO a
withConfig c use =
  allocaBytes #{size tbq_config} $ \p ->
  allocaBytes whySize $ \why ->
  path (cBindAddress c) $ \bind ->
  path (cCertPath c) $ \cert ->
  path (cKeyPath c) $ \key ->
  path (cStateDir c) $ \state ->
  path (cAllowPath c) $ \allow ->
  path (cDenyPath c) $ \deny ->
  withMany withCString (cBootstrap c) $ \nodes ->
  withArrayLen nodes $ \n bootstrap -> do
    c_config_init p #{size tbq_config}
    poke (castPtr why) (0 :: CChar)
    #{poke tbq_config, bind_address} p bind
    #{poke tbq_config, bind_port} p (cBindPort c)
    #{poke tbq_config, cert_path} p cert
    #{poke tbq_config, key_path} p key
    #{poke tbq_config, state_dir} p state
    #{poke tbq_config, allow_path} p allow
    #{poke tbq_config, deny_path} p deny
    #{poke tbq_config, network_mode} p (cMode c)
    #{poke tbq_config, bootstrap_nodes} p bootstrap
    #{poke tbq_config, bootstrap_nodes_len} p (fromIntegral n :: CSize)
    #{poke tbq_config, connection_timeout_ms} p (cConnectionTimeout c)
    #{poke tbq_config, max_connections} p (cMaxConnections c)
    #{poke tbq_config, max_message_size} p (cMaxMessageSize c)
    #{poke tbq_config, ping_interval_ms} p (cPingInterval c)
    #{poke tbq_config, capabilities} p (cCapabilities c)
    #{poke tbq_config, role} p (cRole c)
    #{poke tbq_config, log_level} p (cLogLevel c)
    #{poke tbq_config, error_text} p why
    #{poke tbq_config, error_text_size} p (fromIntegral whySize :: CSize)
    use p (peekText why)
  where
    whySize = 512
    path Nothing go = go nullPtr
    path (Just name) go = do
      encoding <- getFileSystemEncoding
      GHC.withCString encoding name go

-- Server ------------------------------------------------------------------------------------------

foreign import ccall safe "tbq_server_start"
  c_start :: Ptr (Ptr CServer) -> Ptr CConfig -> Ptr () -> Ptr Word8 -> Ptr () -> IO CInt
foreign import ccall unsafe "tbq_server_stop"
  c_stop :: Ptr CServer -> Word32 -> IO CInt
foreign import ccall safe "tbq_server_free"
  c_free :: Ptr CServer -> IO ()
foreign import ccall unsafe "tbq_server_peer_id"
  c_peer_id :: Ptr CServer -> IO (Ptr CPeerId)
foreign import ccall unsafe "tbq_server_uri"
  c_uri :: Ptr CServer -> IO CString
foreign import ccall unsafe "tbq_server_address"
  c_address :: Ptr CServer -> IO CString
foreign import ccall unsafe "tbq_server_fd"
  c_fd :: Ptr CServer -> IO CInt
foreign import ccall safe "tbq_server_process"
  c_process :: Ptr CServer -> IO CInt

-- Events ------------------------------------------------------------------------------------------

foreign import ccall unsafe "tbq_server_next_event"
  c_next_event :: Ptr CServer -> IO (Ptr CEvent)
-- | Also what releases an event.
foreign import ccall unsafe "tbq_event_accept"
  c_accept :: Ptr CEvent -> IO ()
foreign import ccall unsafe "tbq_event_refuse"
  c_refuse :: Ptr CEvent -> IO ()

-- | A copy of a @tbq_event@, with those members that the binding hands on.
data Event = Event
  { eType :: CInt
  , ePeer :: Maybe B.ByteString
  , eConnection :: Word64
  , eAddress :: String
  , eDialled :: Bool
  , eReason :: CInt
  , eText :: String
  , eLane :: CInt
  , eRepeat :: Bool
  , eBody :: Maybe Body
  , eRequest, eTag :: Word64
  , eFate, eLevel :: CInt
  , eCounts :: (Int, Int, Int)
  }

-- | What a message carries.
data Body
  = Pong { bRoundTripNs, bWallMs :: Word64 }
  | Transition B.ByteString
  | Request B.ByteString
  | Response CInt B.ByteString
  | Failure CInt B.ByteString
  | Other CInt

peekEvent :: Ptr CEvent -> IO Event
peekEvent p = Event
  <$> #{peek tbq_event, type} p
  <*> (#{peek tbq_event, peer} p >>= maybePeek peekId)
  <*> #{peek tbq_event, connection} p
  <*> (#{peek tbq_event, address} p >>= peekText)
  <*> flag (#{peek tbq_event, dialled} p)
  <*> #{peek tbq_event, reason} p
  <*> (#{peek tbq_event, text} p >>= peekText)
  <*> #{peek tbq_event, lane} p
  <*> flag (#{peek tbq_event, repeat} p)
  <*> (#{peek tbq_event, message} p >>= maybePeek peekBody)
  <*> #{peek tbq_event, request} p
  <*> #{peek tbq_event, tag} p
  <*> #{peek tbq_event, fate} p
  <*> #{peek tbq_event, level} p
  <*> ((,,) <$> size (#{peek tbq_event, counts.delivered} p)
            <*> size (#{peek tbq_event, counts.not_delivered} p)
            <*> size (#{peek tbq_event, counts.unknown} p))

peekBody :: Ptr CMessage -> IO Body
peekBody p = do
  kind <- #{peek tbq_message, kind} p
  case kind of
    #{const TBQ_PONG} -> Pong <$> #{peek tbq_message, u.pong.rtt_ns} p
                              <*> #{peek tbq_message, u.pong.wall_ms} p
    #{const TBQ_TRANSITION} -> Transition <$> bytes (#{ptr tbq_message, u.transition} p)
    #{const TBQ_RESOURCE_REQUEST} -> Request <$> bytes (#{ptr tbq_message, u.request.bytes} p)
    #{const TBQ_RESOURCE_RESPONSE} ->
      Response <$> #{peek tbq_message, u.response.status} p
               <*> bytes (#{ptr tbq_message, u.response.bytes} p)
    #{const TBQ_ERROR} -> Failure <$> #{peek tbq_message, u.error.code} p
                                  <*> bytes (#{ptr tbq_message, u.error.text} p)
    other -> pure (Other other)

-- Calls -------------------------------------------------------------------------------------------

foreign import ccall unsafe "tbq_server_connect"
  c_connect :: Ptr CServer -> CString -> Ptr Word64 -> IO CInt
foreign import ccall unsafe "tbq_connection_close"
  c_close :: Ptr CServer -> Word64 -> IO CInt
foreign import ccall unsafe "tbq_send"
  c_send :: Ptr CServer -> Word64 -> Ptr CMessage -> Ptr COptions -> IO CInt
foreign import ccall unsafe "tbq_broadcast"
  c_broadcast :: Ptr CServer -> Ptr CMessage -> Ptr COptions -> IO CInt
foreign import ccall unsafe "tbq_request"
  c_request :: Ptr CServer -> Ptr CChar -> Ptr CChar -> CSize -> Word32 -> Ptr COptions
            -> Ptr Word64 -> IO CInt
foreign import ccall unsafe "tbq_respond"
  c_respond :: Ptr CServer -> Word64 -> Ptr CAnswer -> IO CInt
foreign import ccall unsafe "tbq_discover"
  c_discover :: Ptr CServer -> Word64 -> IO CInt
foreign import ccall unsafe "tbq_announce"
  c_announce :: Ptr CServer -> IO CInt
foreign import ccall unsafe "tbq_send_options_init_sized"
  c_options_init :: Ptr COptions -> CSize -> IO ()

-- | A message on its way out: a kind, and the bytes where the kind has some.
data Out
  = OutPlain CInt
  | OutTransition B.ByteString
  | OutRequest B.ByteString
  | OutResponse B.ByteString
  | OutError CInt B.ByteString

-- | The bytes stay where they are: the library copies them during the call.
withMessage :: Out -> (Ptr CMessage -> IO a) -> IO a
withMessage out use = allocaBytes #{size tbq_message} $ \p -> do
  fillBytes p 0 #{size tbq_message}
  let kind k = #{poke tbq_message, kind} p (k :: CInt)
  case out of
    OutPlain k -> kind k >> use p
    OutTransition b -> do
      kind #{const TBQ_TRANSITION}
      lend b (#{ptr tbq_message, u.transition} p) (use p)
    OutRequest b -> do
      kind #{const TBQ_RESOURCE_REQUEST}
      lend b (#{ptr tbq_message, u.request.bytes} p) (use p)
    OutResponse b -> do
      kind #{const TBQ_RESOURCE_RESPONSE}
      lend b (#{ptr tbq_message, u.response.bytes} p) (use p)
    OutError code b -> do
      kind #{const TBQ_ERROR}
      #{poke tbq_message, u.error.code} p code
      lend b (#{ptr tbq_message, u.error.text} p) (use p)

-- | Tag, lane, time to live in ms, unordered.
withOptions :: Word64 -> CInt -> Word32 -> Bool -> (Ptr COptions -> IO a) -> IO a
withOptions tag lane ttl unordered use = allocaBytes #{size tbq_send_options} $ \p -> do
  c_options_init p #{size tbq_send_options}
  #{poke tbq_send_options, tag} p tag
  #{poke tbq_send_options, lane} p lane
  #{poke tbq_send_options, ttl_ms} p ttl
  #{poke tbq_send_options, unordered} p (fromBool unordered :: CBool)
  use p

withAnswer :: CInt -> B.ByteString -> (Ptr CAnswer -> IO a) -> IO a
withAnswer status b use = allocaBytes #{size tbq_answer} $ \p -> do
  #{poke tbq_answer, status} p status
  lend b (#{ptr tbq_answer, bytes} p) (use p)

-- Peers -------------------------------------------------------------------------------------------

foreign import ccall unsafe "tbq_server_peers"
  c_peers :: Ptr CServer -> Ptr CPeerId -> Ptr (Ptr CPeers) -> IO CInt
foreign import ccall unsafe "tbq_peers_free"
  c_peers_free :: Ptr CPeers -> IO ()

-- | A copy of a @tbq_peer@.
data Peer = Peer
  { pId :: B.ByteString
  , pPublicKey :: Maybe B.ByteString
  , pConnected :: Bool
  , pAddress :: String
  , pAddresses :: [String]
  , pCapabilities :: Word64
  , pRole :: CInt
  , pLastSeenMs, pRoundTripNs :: Word64
  , pLoad :: Maybe Word32
  , pCapacity :: Word32
  }

peekPeers :: Ptr CPeers -> IO [Peer]
peekPeers p = do
  n <- size (#{peek tbq_peers, len} p)
  first <- #{peek tbq_peers, peer} p
  peekArray n first >>= mapM peekPeer

peekPeer :: Ptr () -> IO Peer
peekPeer p = Peer
  <$> peekId (#{ptr tbq_peer, id} p)
  <*> (#{peek tbq_peer, public_key} p >>= maybePeek key)
  <*> flag (#{peek tbq_peer, connected} p)
  <*> (#{peek tbq_peer, address} p >>= peekText)
  <*> addresses
  <*> #{peek tbq_peer, capabilities} p
  <*> #{peek tbq_peer, role} p
  <*> #{peek tbq_peer, last_seen_ms} p
  <*> #{peek tbq_peer, stats.rtt_ns} p
  <*> (flag (#{peek tbq_peer, load_told} p) >>= \told ->
        if told then Just <$> #{peek tbq_peer, load} p else pure Nothing)
  <*> #{peek tbq_peer, capacity} p
  where
    key k = B.packCStringLen (k, #{const TBQ_PUBLIC_KEY_SIZE})
    addresses = do
      n <- size (#{peek tbq_peer, addresses_len} p)
      first <- #{peek tbq_peer, addresses} p
      peekArray n first >>= mapM peekText

foreign import ccall unsafe "tbq_select_query_init_sized"
  c_query_init :: Ptr CQuery -> CSize -> IO ()
foreign import ccall unsafe "tbq_select"
  c_select :: Ptr CServer -> Ptr CQuery -> Ptr CPeerId -> CSize -> IO CInt
foreign import ccall unsafe "tbq_server_set_load"
  c_set_load :: Ptr CServer -> Word32 -> Word32 -> IO CInt

-- | Policy, capabilities, key; and room for so many peer ids.
withQuery :: CInt -> Word64 -> B.ByteString -> Int -> (Ptr CQuery -> Ptr CPeerId -> IO a) -> IO a
withQuery policy capabilities key room use =
  allocaBytes #{size tbq_select_query} $ \p ->
  allocaBytes (room * #{size tbq_peer_id}) $ \out -> do
    c_query_init p #{size tbq_select_query}
    #{poke tbq_select_query, policy} p policy
    #{poke tbq_select_query, capabilities} p capabilities
    lend key (#{ptr tbq_select_query, key} p) (use p out)

peekIds :: Int -> Ptr CPeerId -> IO [B.ByteString]
peekIds n p = mapM (\i -> peekId (p `plusPtr` (i * #{size tbq_peer_id}))) [0 .. n - 1]

-- Small things ------------------------------------------------------------------------------------

foreign import ccall unsafe "tbq_peer_id_to_text"
  c_id_to_text :: Ptr CChar -> CString -> IO ()
foreign import ccall unsafe "tbq_peer_id_from_text"
  c_id_from_text :: Ptr CChar -> CString -> IO CInt
foreign import ccall unsafe "tbq_error_name"
  c_error_name :: CInt -> IO CString
foreign import ccall unsafe "tbq_strerror"
  c_strerror :: CInt -> IO CString

peekId :: Ptr CPeerId -> IO B.ByteString
peekId p = B.packCStringLen (castPtr p, #{const TBQ_PEER_ID_SIZE})

idText :: B.ByteString -> String
idText b = unsafePerformIO $ B.unsafeUseAsCString b $ \p ->
  allocaBytes #{const TBQ_PEER_ID_TEXT_SIZE} $ \out -> c_id_to_text p out >> peekText out

idFromText :: String -> Maybe B.ByteString
idFromText given = unsafePerformIO $ withCString given $ \p ->
  allocaBytes #{const TBQ_PEER_ID_SIZE} $ \out -> do
    rv <- c_id_from_text out p
    if rv < 0 then pure Nothing else Just <$> peekId (castPtr out)

errorName, errorText :: CInt -> String
errorName e = unsafePerformIO (c_error_name e >>= peekText)
errorText e = unsafePerformIO (c_strerror e >>= peekText)

#{enum CInt, , errInvalid = TBQ_ERR_INVALID, errClosed = TBQ_ERR_CLOSED,
  errRefused = TBQ_ERR_REFUSED, errStopped = TBQ_ERR_STOPPED,
  modeClient = TBQ_MODE_CLIENT, modeServer = TBQ_MODE_SERVER, modeHybrid = TBQ_MODE_HYBRID,
  kindPing = TBQ_PING, kindPong = TBQ_PONG, kindDiscover = TBQ_DISCOVER,
  kindAnnounce = TBQ_ANNOUNCE, kindPeerList = TBQ_PEER_LIST,
  eventConnected = TBQ_EVENT_CONNECTED, eventDisconnected = TBQ_EVENT_DISCONNECTED,
  eventConnectFailed = TBQ_EVENT_CONNECT_FAILED, eventMessage = TBQ_EVENT_MESSAGE,
  eventRequest = TBQ_EVENT_REQUEST, eventResponse = TBQ_EVENT_RESPONSE,
  eventFate = TBQ_EVENT_FATE, eventWritable = TBQ_EVENT_WRITABLE,
  eventWarning = TBQ_EVENT_WARNING, eventLog = TBQ_EVENT_LOG, eventStopped = TBQ_EVENT_STOPPED,
  eventPeer = TBQ_EVENT_PEER, eventBroadcast = TBQ_EVENT_BROADCAST,
  eventPath = TBQ_EVENT_PATH,
  fateDelivered = TBQ_DELIVERED, fateNotDelivered = TBQ_NOT_DELIVERED,
  responseOk = TBQ_RESPONSE_OK, responseNotFound = TBQ_RESPONSE_NOT_FOUND,
  responseRefused = TBQ_RESPONSE_REFUSED, responseFailed = TBQ_RESPONSE_FAILED,
  selectRendezvous = TBQ_SELECT_RENDEZVOUS, selectLeastRtt = TBQ_SELECT_LEAST_RTT,
  selectTwoChoices = TBQ_SELECT_TWO_CHOICES }

-- | Empty where there is none.
peekText :: CString -> IO String
peekText p = if p == nullPtr then pure "" else fromUtf8 <$> B.packCString p

-- | Peers may send what is no UTF-8: that is replaced.
fromUtf8 :: B.ByteString -> String
fromUtf8 = T.unpack . T.decodeUtf8With T.lenientDecode

toUtf8 :: String -> B.ByteString
toUtf8 = T.encodeUtf8 . T.pack

flag :: IO CBool -> IO Bool
flag = fmap toBool

size :: IO CSize -> IO Int
size = fmap fromIntegral

bytes :: Ptr () -> IO B.ByteString
bytes p = do
  from <- #{peek tbq_bytes, data} p
  n <- size (#{peek tbq_bytes, size} p)
  B.packCStringLen (from, n)

lend :: B.ByteString -> Ptr () -> IO a -> IO a
lend b p go = B.unsafeUseAsCStringLen b $ \(from, n) -> do
  #{poke tbq_bytes, data} p from
  #{poke tbq_bytes, size} p (fromIntegral n :: CSize)
  go
